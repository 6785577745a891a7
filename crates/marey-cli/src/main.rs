//! The marey command.
fn main() {}
