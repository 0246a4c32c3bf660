"""The three stages on ONNX Runtime: which slice, where in it, how severe."""
