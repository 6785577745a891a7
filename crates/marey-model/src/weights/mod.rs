//! Weights from files and to files.
//!
//! [`import`] reads what PyTorch wrote (`.pth` and `.pt` in every container `torch.save` has had, without executing
//! anything of them; `.safetensors`), finds the model's parameters in it by their upstream names, and says what did not
//! match. [`save`] and [`load`] are the strict pair for our own `.safetensors`: every parameter, and nothing else.
//!
//! Layouts: PyTorch's convolution weights are `[o, i, (kt,) kh, kw]`, ours `[o, (kt,) kh, kw, i]`. A file of ours says
//! so in its metadata.

mod freeze;

mod import;

mod names;

mod own;

mod read;

mod walk;

pub use freeze::freeze;
pub use import::{ImportOptions, ImportReport, import};
pub use own::{load, save};
pub use walk::{Parameter, is_running_stat, parameters};
