//! The device, chosen once.

use anyhow::{Result, bail};
use clap::Args;
use marey::{burn::tensor::Device, kernel::kernels_used, train::Precision};

/// The `--device` argument.
#[derive(Clone, Debug, Args)]
pub(crate) struct DeviceArg {
    /// Where to compute: `cpu`, `cuda[:N]`, `rocm[:N]`, `vulkan[:N]` or `metal[:N]`.
    ///
    /// All but `cpu` need the cargo feature of their name. A device that is not there is an error, never replaced by
    /// another.
    #[arg(long, default_value = "cpu", value_name = "DEVICE")]
    device: String,
}

/// A device and what to call it in a report.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    pub(crate) device: Device,
    pub(crate) name: String,
}

impl Chosen {
    /// What computes on it at a precision, in words.
    pub(crate) fn kernels(&self, precision: Precision) -> String {
        kernels_used(precision.dtype(), &self.device)
    }
}

impl DeviceArg {
    /// The device asked for.
    pub(crate) fn choose(&self) -> Result<Chosen> {
        let (kind, index) = match self.device.split_once(':') {
            Some((kind, index)) => match index.parse::<usize>() {
                Ok(index) => (kind, index),
                Err(_) => bail!(
                    "--device {}: `{index}` is no device number, expected for example {kind}:0",
                    self.device
                ),
            },
            None => (self.device.as_str(), 0),
        };
        let device = match kind {
            "cpu" if index == 0 => Device::flex(),
            "cpu" => bail!("--device {}: there is one cpu device", self.device),
            #[cfg(feature = "cuda")]
            "cuda" => {
                marey::kernel::keep_freed_memory();
                Device::cuda(index)
            }
            #[cfg(feature = "rocm")]
            "rocm" => Device::rocm(index),
            #[cfg(feature = "vulkan")]
            "vulkan" => Device::vulkan(marey::burn::tensor::DeviceKind::DiscreteGpu(index)),
            #[cfg(feature = "metal")]
            "metal" => Device::metal(marey::burn::tensor::DeviceKind::DiscreteGpu(index)),
            // Those that were built in do not come here.
            #[allow(unreachable_patterns, reason = "what is left depends on the features")]
            "cuda" | "rocm" | "vulkan" | "metal" => bail!(
                "--device {kind}: this program was built without it; build it with `cargo build --release --features {kind}`"
            ),
            _ => bail!(
                "--device {}: unknown, expected cpu, cuda, rocm, vulkan or metal",
                self.device
            ),
        };
        let name = match kind {
            "cpu" => "cpu (Burn flex)".to_owned(),
            _ => format!("{kind}:{index}"),
        };
        Ok(Chosen { device, name })
    }
}

/// The devices that this program was built for.
pub(crate) fn compiled_in() -> Vec<&'static str> {
    let features = [
        ("cuda", cfg!(feature = "cuda")),
        ("rocm", cfg!(feature = "rocm")),
        ("vulkan", cfg!(feature = "vulkan")),
        ("metal", cfg!(feature = "metal")),
    ];
    let built = features
        .into_iter()
        .filter_map(|(name, is_built)| is_built.then_some(name));
    std::iter::once("cpu").chain(built).collect()
}
