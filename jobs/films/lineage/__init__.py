"""Which films a training has seen, and which of them are, or resemble, films that another training validates on."""
