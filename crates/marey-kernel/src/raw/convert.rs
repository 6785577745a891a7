//! From one element type to another, in parallel.

use super::conv::Epilogue;
use super::element::Element;
use super::memory::Buffer;
use super::norm::{Pass, PerChannel};
use super::parallel::{Shared, for_each_task};
use super::simd::{Isa, Job, Vector};

/// Elements that a task converts.
const TASK_LEN: usize = 64 << 10;

/// Writes `from` to `to`, rounded to the nearest where `to` is narrower.
///
/// # Panics
/// If the lengths differ.
pub(crate) fn convert<A: Element, B: Element>(isa: Isa, from: &[A], to: &mut [B]) {
    assert_eq!(from.len(), to.len(), "a conversion keeps the length");
    let len = from.len();
    let output = Shared::new(to);
    for_each_task(len.div_ceil(TASK_LEN), |task| {
        let start = task * TASK_LEN;
        let part = &from[start..len.min(start + TASK_LEN)];
        // SAFETY: the set is available; this part of the output is this task's.
        unsafe {
            isa.run(Convert {
                from: part,
                to: output.get().add(start),
            })
        };
    });
}

/// Writes what the epilogue makes of `sums` to `to`, rounded; both are rows of `channels`.
///
/// # Panics
/// If the lengths do not fit.
pub(crate) fn finish<E: Element>(
    isa: Isa,
    sums: &[f32],
    epilogue: Epilogue,
    channels: usize,
    to: &mut [E],
) {
    if epilogue.is_empty() {
        return convert(isa, sums, to);
    }
    let affine = [(epilogue.scale, 1.0), (epilogue.bias, 0.0)];
    let [scale, shift] = affine.map(|(values, default)| {
        PerChannel::new(channels, |c| values.map_or(default, |values| values[c]))
    });
    let mut finished = Buffer::<f32>::take(sums.len());
    let pass = Pass {
        isa,
        x: sums,
        residual: None,
        scale: &scale,
        shift: &shift,
        activation: epilogue.activation,
        channels,
    };
    pass.forward(&mut finished);
    convert(isa, &finished, to);
}

struct Convert<'a, A, B> {
    from: &'a [A],
    to: *mut B,
}

impl<A: Element, B: Element> Job for Convert<'_, A, B> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let mut at = 0;
        // SAFETY: `to` has room for as many elements as `from` holds.
        unsafe {
            while at + V::LANES <= self.from.len() {
                B::store(A::load::<V>(self.from.as_ptr().add(at)), self.to.add(at));
                at += V::LANES;
            }
            let rest = self.from.len() - at;
            let value: V = A::load_part(self.from.as_ptr().add(at), rest);
            B::store_part(value, self.to.add(at), rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::super::reference::noise;
    use super::*;

    #[test]
    fn conversion_rounds_every_element() {
        for len in [0, 1, 15, 16, 33, TASK_LEN + 5] {
            let from = noise(len, 1);
            for isa in Isa::available() {
                let (mut half, mut back) = (vec![bf16::ONE; len], vec![f32::NAN; len]);
                convert(isa, &from, &mut half);
                convert(isa, &half, &mut back);
                for (idx, value) in from.iter().enumerate() {
                    assert_eq!(
                        back[idx],
                        bf16::from_f32(*value).to_f32(),
                        "{isa:?} {idx} of {len}"
                    );
                }
            }
        }
    }
}
