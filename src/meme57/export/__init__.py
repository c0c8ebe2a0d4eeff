"""What leaves the project: ONNX files, and policies that MLflow serves."""
