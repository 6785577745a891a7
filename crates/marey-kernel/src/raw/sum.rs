//! The sum of two tensors, in place: what gradients of one input from two uses of it become.

use super::element::Element;
use super::parallel::for_each_piece;
use super::simd::{Isa, Job, Vector};

/// Elements of a task.
const TASK_LEN: usize = 64 << 10;

/// `sum += other`, rounded once.
///
/// # Panics
/// If the lengths differ.
pub fn add<E: Element>(isa: Isa, sum: &mut [E], other: &[E]) {
    assert!(
        sum.len() == other.len(),
        "{} elements and {}",
        sum.len(),
        other.len()
    );
    for_each_piece(sum, TASK_LEN, |task, sum| {
        let other = &other[task * TASK_LEN..][..sum.len()];
        // SAFETY: the set is available.
        unsafe { isa.run(Add { sum, other }) }
    });
}

struct Add<'a, E> {
    sum: &'a mut [E],
    /// As long.
    other: &'a [E],
}

impl<E: Element> Job for Add<'_, E> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let (sum, len) = (self.sum.as_mut_ptr(), self.sum.len());
        let mut at = 0;
        // SAFETY: whole vectors below `len`, then the rest.
        unsafe {
            while at + V::LANES <= len {
                let other = E::load::<V>(self.other.as_ptr().add(at));
                let to = sum.add(at);
                E::store(E::load::<V>(to).add(other), to);
                at += V::LANES;
            }
            let other: V = E::load_part(self.other.as_ptr().add(at), len - at);
            let own: V = E::load_part(sum.add(at), len - at);
            E::store_part(own.add(other), sum.add(at), len - at);
        }
    }
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::super::reference::noise;
    use super::*;

    fn check<E: Element>() {
        for len in [0, 1, 15, 16, 33, TASK_LEN + 5] {
            let element = |value: &f32| E::from_f32(*value);
            let a: Vec<E> = noise(len, 1).iter().map(element).collect();
            let b: Vec<E> = noise(len, 2).iter().map(element).collect();
            let want: Vec<f32> = a
                .iter()
                .zip(&b)
                .map(|(a, b)| E::from_f32(a.to_f32() + b.to_f32()).to_f32())
                .collect();
            for isa in Isa::available() {
                let mut sum = a.clone();
                add(isa, &mut sum, &b);
                let sum: Vec<f32> = sum.iter().map(|value| value.to_f32()).collect();
                assert_eq!(sum, want, "{isa:?}, {len} elements");
            }
        }
    }

    #[test]
    fn every_element_is_added_and_rounded_once() {
        check::<f32>();
        check::<bf16>();
        check::<f16>();
    }
}
