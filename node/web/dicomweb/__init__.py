"""DICOMweb (PS3.18): STOW-RS as a way in, QIDO-RS and WADO-RS over what the node holds."""
