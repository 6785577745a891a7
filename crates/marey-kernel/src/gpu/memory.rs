//! How a GPU's memory is kept.

use cubecl::config::memory::PersistentMemory;
use cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};

/// Has GPUs keep freed memory for tensors of the same size, for the whole process: training and inference ask for the same
/// sizes again and again, and what is kept is found at once, where CubeCL's own way looks through everything that is in
/// use for each tensor. Memory of sizes that do not come again is held until the process ends.
///
/// A `cubecl.toml` that says otherwise counts. To be called before the first tensor on a GPU; later it changes nothing
/// and gives `false`.
pub fn keep_freed_memory() -> bool {
    let mut config = CubeClRuntimeConfig::from_current_dir().override_from_env();
    if matches!(config.memory.persistent_memory, PersistentMemory::Enabled) {
        config.memory.persistent_memory = PersistentMemory::Enforced;
    }
    CubeClRuntimeConfig::try_set(config)
}
