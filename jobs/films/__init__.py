"""Films: reading DICOM, the packed dataset, folds, audit, augmentation, loader, phantom."""
