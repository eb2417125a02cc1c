"""The network as ONNX: exported, simplified, float16, int8; what each form costs; the reference that answers for it."""
