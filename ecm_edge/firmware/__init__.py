"""Firmware: from an ONNX classifier to C99, to an image for a board, to the image run and counted in an emulator."""
