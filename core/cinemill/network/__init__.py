"""DICOM over networks: DIMSE (PS3.7, PS3.8) and DICOMweb (PS3.18), as a client and as a receiver."""
