//! CPU tensors of any type that the kernels take, as slices of their elements.

use burn::tensor::{DType, Shape};
use burn_flex::{FlexTensor, Layout};
use half::{bf16, f16};

use super::memory::bytes_of;
use crate::raw::Element;
use crate::raw::memory::Buffer;

/// An element as Burn's tensors store it.
pub(super) trait Stored: Element {
    /// Burn's name of the type.
    const DTYPE: DType;

    /// The elements of a tensor of this type that lie together, in order; else nothing.
    fn slice(tensor: &FlexTensor) -> Option<&[Self]>;

    /// All of a tensor's storage; copied first, if others share it.
    fn storage(tensor: &mut FlexTensor) -> &mut [Self];
}

macro_rules! stored {
    ($($type:ty = $dtype:ident),*) => {$(
        impl Stored for $type {
            const DTYPE: DType = DType::$dtype;

            fn slice(tensor: &FlexTensor) -> Option<&[Self]> {
                tensor.as_slice()
            }

            fn storage(tensor: &mut FlexTensor) -> &mut [Self] {
                tensor.storage_mut()
            }
        }
    )*};
}

stored!(f32 = F32, bf16 = BF16, f16 = F16);

/// Evaluates `$body` with `$E` as the type of the elements of tensors of type `$dtype`.
macro_rules! with_element {
    ($dtype:expr, $E:ident => $body:expr) => {
        match $dtype {
            burn::tensor::DType::F32 => {
                type $E = f32;
                $body
            }
            burn::tensor::DType::BF16 => {
                type $E = half::bf16;
                $body
            }
            burn::tensor::DType::F16 => {
                type $E = half::f16;
                $body
            }
            other => unreachable!("the public functions let no {other:?} in"),
        }
    };
}
pub(super) use with_element;

/// The elements of a [`dense`](super::flex::dense) tensor.
pub(super) fn elements_of<E: Stored>(tensor: &FlexTensor) -> &[E] {
    E::slice(tensor).expect("made dense, and its type was asked for at the door")
}

/// The elements of a tensor, to be changed: where they lie, unless others share them or they do not lie together.
pub(super) fn elements_mut<E: Stored>(tensor: &mut FlexTensor) -> &mut [E] {
    if !tensor.is_contiguous() {
        *tensor = tensor.to_contiguous();
    }
    let (start, end) = tensor
        .layout()
        .contiguous_offsets()
        .expect("made contiguous");
    &mut E::storage(tensor)[start..end]
}

/// A new tensor, in memory of the pool, that `fill` writes completely.
pub(super) fn filled_with<E: Stored, const D: usize>(
    shape: [usize; D],
    fill: impl FnOnce(&mut [E]),
) -> FlexTensor {
    let mut buffer = Buffer::take(shape.iter().product());
    fill(&mut buffer);
    let layout = Layout::contiguous(Shape::from(shape));
    FlexTensor::new(bytes_of(buffer), layout, E::DTYPE)
}
