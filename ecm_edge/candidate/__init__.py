"""What may be trained: a candidate's configuration and folder, the network families, the search spaces."""
