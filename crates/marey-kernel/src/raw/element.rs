//! What activations are stored as. Kernels compute in `f32` whatever it is.

use half::{bf16, f16};

use super::simd::Vector;

/// A type that activations are stored in: `f32`, `bf16` or `f16`.
///
/// Storing rounds to the nearest value, ties to even; a NaN stays a NaN, what is too large for `f16` becomes infinite.
pub trait Element: Copy + Default + PartialEq + Send + Sync + std::fmt::Debug + 'static {
    /// Which one it is.
    const TYPE: ElementType;

    /// Its value.
    fn to_f32(self) -> f32;

    /// The nearest one to `value`.
    fn from_f32(value: f32) -> Self;

    /// `V::LANES` elements from memory.
    ///
    /// # Safety
    /// The machine has the instructions of `V`, and the elements are valid; at any alignment.
    #[doc(hidden)]
    unsafe fn load<V: Vector>(from: *const Self) -> V;

    /// Writes `V::LANES` elements.
    ///
    /// # Safety
    /// As [`Element::load`], to be written.
    #[doc(hidden)]
    unsafe fn store<V: Vector>(value: V, to: *mut Self);

    /// The first `len` lanes from memory, zeros after them.
    ///
    /// # Safety
    /// As [`Element::load`], for `len` elements, at most `V::LANES`.
    #[doc(hidden)]
    unsafe fn load_part<V: Vector>(from: *const Self, len: usize) -> V;

    /// Writes the first `len` lanes.
    ///
    /// # Safety
    /// As [`Element::store`], for `len` elements, at most `V::LANES`.
    #[doc(hidden)]
    unsafe fn store_part<V: Vector>(value: V, to: *mut Self, len: usize);
}

/// The [`Element`] types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElementType {
    /// 32 bits.
    F32,
    /// 16 bits, the exponent of `f32`.
    Bf16,
    /// 16 bits, IEEE half precision.
    F16,
}

/// `slice` as elements of a type that is known by another name.
///
/// # Panics
/// If it is another type.
pub(crate) fn same<A: Element, B: Element>(slice: &[A]) -> &[B] {
    assert!(A::TYPE == B::TYPE, "{:?} is not {:?}", A::TYPE, B::TYPE);
    // SAFETY: each `TYPE` belongs to one type.
    unsafe { std::slice::from_raw_parts(slice.as_ptr().cast(), slice.len()) }
}

/// As [`same`].
///
/// # Panics
/// As [`same`].
pub(crate) fn same_mut<A: Element, B: Element>(slice: &mut [A]) -> &mut [B] {
    assert!(A::TYPE == B::TYPE, "{:?} is not {:?}", A::TYPE, B::TYPE);
    // SAFETY: as above.
    unsafe { std::slice::from_raw_parts_mut(slice.as_mut_ptr().cast(), slice.len()) }
}

/// An element whose vector forms are methods of the vector.
macro_rules! element {
    ($type:ty, $name:ident, $load:ident, $store:ident, $load_first:ident, $store_first:ident, $to:expr, $from:expr) => {
        impl Element for $type {
            const TYPE: ElementType = ElementType::$name;

            fn to_f32(self) -> f32 {
                $to(self)
            }

            fn from_f32(value: f32) -> Self {
                $from(value)
            }

            #[inline(always)]
            unsafe fn load<V: Vector>(from: *const Self) -> V {
                // SAFETY: the contract of this function; half types are 16 plain bits.
                unsafe { V::$load(from.cast()) }
            }

            #[inline(always)]
            unsafe fn store<V: Vector>(value: V, to: *mut Self) {
                // SAFETY: as above.
                unsafe { value.$store(to.cast()) }
            }

            #[inline(always)]
            unsafe fn load_part<V: Vector>(from: *const Self, len: usize) -> V {
                // SAFETY: as above.
                unsafe {
                    if len == V::LANES {
                        return V::$load(from.cast());
                    }
                    V::$load_first(from.cast(), len)
                }
            }

            #[inline(always)]
            unsafe fn store_part<V: Vector>(value: V, to: *mut Self, len: usize) {
                // SAFETY: as above.
                unsafe {
                    if len == V::LANES {
                        return value.$store(to.cast());
                    }
                    value.$store_first(to.cast(), len);
                }
            }
        }
    };
}

element!(
    f32,
    F32,
    load,
    store,
    load_first,
    store_first,
    std::convert::identity,
    std::convert::identity
);
element!(
    bf16,
    Bf16,
    load_bf16,
    store_bf16,
    load_first_bf16,
    store_first_bf16,
    Self::to_f32,
    Self::from_f32
);
element!(
    f16,
    F16,
    load_f16,
    store_f16,
    load_first_f16,
    store_first_f16,
    Self::to_f32,
    Self::from_f32
);

#[cfg(test)]
mod tests {
    use super::super::simd::{Isa, Job};
    use super::*;

    /// Loads, and stores what was loaded and some numbers, in parts of every length.
    struct RoundTrip<'a, E> {
        stored: &'a [E],
        values: &'a [f32],
    }

    impl<E: Element> Job for RoundTrip<'_, E> {
        type Output = (Vec<f32>, Vec<E>);

        #[inline(always)]
        unsafe fn run<V: Vector>(self) -> Self::Output {
            let mut loaded = vec![0.0; self.stored.len()];
            let mut stored = vec![E::default(); self.values.len()];
            let mut at = 0;
            for len in (1..=V::LANES).cycle() {
                let len = len.min(self.stored.len() - at);
                if len == 0 {
                    return (loaded, stored);
                }
                // SAFETY: `len` elements are left in all of the slices.
                unsafe {
                    let value: V = E::load_part(self.stored.as_ptr().add(at), len);
                    f32::store_part(value, loaded.as_mut_ptr().add(at), len);
                    let value: V = f32::load_part(self.values.as_ptr().add(at), len);
                    E::store_part(value, stored.as_mut_ptr().add(at), len);
                }
                at += len;
            }
            unreachable!("the cycle has no end")
        }
    }

    fn check<E: Element>(every: impl Iterator<Item = E>) {
        let stored: Vec<E> = every.collect();
        // All stored values, those halfway between neighbours and around, and the largest of f32.
        let values: Vec<f32> = (0..stored.len() as u32)
            .map(|idx| f32::from_bits(idx.wrapping_mul(65_537).wrapping_add(idx >> 3 & 1) ^ 0x8000))
            .collect();
        let same = |a: f32, b: f32| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
        for isa in Isa::available() {
            let job = RoundTrip {
                stored: &stored,
                values: &values,
            };
            // SAFETY: the set is available; a job of two slices of the same length.
            let (loaded, rounded) = unsafe { isa.run(job) };
            for (idx, loaded) in loaded.iter().enumerate() {
                let want = stored[idx].to_f32();
                assert!(
                    same(*loaded, want),
                    "{isa:?} {:?}: {loaded}, not {want}",
                    stored[idx]
                );
                let (got, want) = (rounded[idx].to_f32(), E::from_f32(values[idx]).to_f32());
                assert!(
                    same(got, want),
                    "{isa:?} {}: {got}, not {want}",
                    values[idx]
                );
            }
        }
    }

    #[test]
    fn every_half_loads_and_every_float_rounds_as_the_scalar_does() {
        check((0..=u16::MAX).map(bf16::from_bits));
        check((0..=u16::MAX).map(f16::from_bits));
        check((0..=u16::MAX).map(|bits| f32::from_bits(u32::from(bits) << 16 | 0x1234)));
    }
}
