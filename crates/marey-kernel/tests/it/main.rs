//! What needs a device: the operations on a GPU against those on the CPU.

mod gpu;
