//! Which kernels run: for reports, logs and the doctor.

use burn::backend::DispatchDevice;
use burn::tensor::{DType, Device};

use crate::raw::Isa;

/// The kernels that compute convolutions, norms and pools of activations of type `dtype` on `device`, in words.
///
/// It says what the public functions of this crate choose, so it changes with them.
pub fn kernels_used(dtype: DType, device: &Device) -> String {
    let plain = device.clone().without_autodiff();
    let is_cpu = matches!(plain.as_dispatch(), DispatchDevice::Flex(_));
    match (is_cpu, dtype) {
        (true, DType::F32) => format!("Marey's CPU kernels, f32, {}", Isa::best().name()),
        _ => format!("Burn's own operations, {}", dtype.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_is_named_with_what_computes_it() {
        for device in [Device::flex(), Device::flex().autodiff()] {
            let f32 = kernels_used(DType::F32, &device);
            assert!(f32.starts_with("Marey's CPU kernels, f32, "), "{f32}");
            assert!(f32.ends_with(Isa::best().name()), "{f32}");
            assert_eq!(
                kernels_used(DType::F16, &device),
                "Burn's own operations, f16"
            );
        }
    }
}
