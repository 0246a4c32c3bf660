"""All that speaks DICOM; pynetdicom and orthanc-api-client live only here."""
