//! CPU kernels for channels-last video networks.
