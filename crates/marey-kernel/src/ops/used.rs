//! Which kernels run: for reports, logs and the doctor.

use burn::tensor::{DType, Device};

use super::is_cpu;
use crate::raw::{Isa, conv::Bf16, parallel};

/// The kernels that compute convolutions, norms and pools of activations of type `dtype` on `device`, in words.
///
/// It says what the public functions of this crate choose, so it changes with them.
pub fn kernels_used(dtype: DType, device: &Device) -> String {
    #[cfg(feature = "gpu")]
    if let Some(used) = crate::gpu::kernels_used(dtype, device) {
        return used;
    }
    match (is_cpu(device), dtype) {
        (true, DType::F32) => format!("Marey's CPU kernels, f32, {}", Isa::best().name()),
        (true, DType::BF16) => format!("Marey's CPU kernels, bf16, {}", Bf16::best().name()),
        (true, DType::F16) => {
            let isa = Isa::best().name();
            format!("Marey's CPU kernels, f16 in memory, computed as f32, {isa}")
        }
        _ => format!("Burn's own operations, {}", dtype.name()),
    }
}

/// Runs `work` on `device` where it is fastest: the CPU's in the pool of its kernels, so that they need not be called into
/// it one by one; another's here, since its work is ordered by the thread that it comes from.
pub fn in_pool<R: Send>(device: &Device, work: impl FnOnce() -> R + Send) -> R {
    if is_cpu(device) {
        parallel::in_pool(work)
    } else {
        work()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_is_named_with_what_computes_it() {
        for device in [Device::flex(), Device::flex().autodiff()] {
            for (dtype, set) in [
                (DType::F32, Isa::best().name()),
                (DType::BF16, Bf16::best().name()),
                (DType::F16, Isa::best().name()),
            ] {
                let used = kernels_used(dtype, &device);
                let start = format!("Marey's CPU kernels, {}", dtype.name());
                assert!(used.starts_with(&start) && used.ends_with(set), "{used}");
            }
            assert_eq!(
                kernels_used(DType::F64, &device),
                "Burn's own operations, f64"
            );
        }
    }
}
