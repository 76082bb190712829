"""Trained nets as ONNX: converted by PyTorch, run by ONNX Runtime without it."""
