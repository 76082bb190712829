"""Reading DICOM films: header, codecs, grey scale."""
