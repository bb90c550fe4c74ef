"""bitsmith: trained float ONNX models to verified integer artifacts for small machines."""
