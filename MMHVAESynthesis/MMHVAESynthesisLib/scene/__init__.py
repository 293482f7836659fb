"""Between the MRML scene and the library: nodes to images, results to nodes. The only room that knows MRML."""
