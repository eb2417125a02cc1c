"""Recordings into data sets.

formats      the table of formats, and what differs between them
importer     `ecm-edge data import`: every recording of a folder into one data set
iesd         the contest's text files, one segment each
physionet    WFDB records with rhythm notes
edf          EDF and BDF files with annotations or a label table; edf_file reads the files themselves
csv_files    CSV and text files with a label table
dicom        DICOM waveforms with a label table
options      the options of all readers, and the tables that lie beside recordings
windows      continuous recordings into segments
"""
