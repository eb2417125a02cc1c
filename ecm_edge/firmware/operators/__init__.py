"""From ONNX operators to layers of C, a family a file."""
