"""What the project exports: ONNX files, and policies that MLflow serves."""
