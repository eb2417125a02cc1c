"""From labelled ECG recordings and a named board to a proven, counted, honestly measured classifier."""
