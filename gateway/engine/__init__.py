"""The data plane's process: adopts queue sockets and images from the keeper and judges, without files or names."""
