//! One factor for each image and channel of channels-last tensors, as squeeze-and-excitation's gate
//! has it: `y = x * scale`, and its gradients in one pass over `dy` and `x`.

#![expect(
    clippy::needless_range_loop,
    reason = "loops over constant indices unroll, which keeps the sums in registers"
)]

use std::ops::Range;

use super::element::Element;
use super::parallel::{Shared, for_each_task};
use super::simd::{Isa, Job, Vector};

/// Channels of a task: whole cache lines, so that no two tasks write to the same one.
const STRIP: usize = 64;
/// Vectors of channels that are worked on together.
const VECTORS: usize = 4;
/// Pixels whose products are summed before the sum joins the others, which keeps rounding small.
const SUM_PIXELS: usize = 256;

/// `y[image][pixel][c] = x[image][pixel][c] * scale[image][c]`.
///
/// # Panics
/// If the lengths do not fit: `y` is as long as `x`, `scale` is whole rows of `channels`, and `x` whole
/// images of as many pixels each.
pub fn scale_forward<E: Element>(isa: Isa, channels: usize, x: &[E], scale: &[f32], y: &mut [E]) {
    let num_pixels = pixels_of_image(channels, x.len(), scale.len());
    assert!(x.len() == y.len(), "y is as long as x");
    let output = Shared::new(y);
    for_each_strip(channels, scale.len() / channels, |image, range| {
        let job = Strip {
            num_pixels,
            channels,
            range,
            image,
            input: x,
            scale,
            other: None,
            output: output.get(),
            sums: std::ptr::null_mut(),
        };
        // SAFETY: the set is available; each task has its own channels of its own image.
        unsafe { isa.run(job) }
    });
}

/// Gradients of [`scale_forward`]: `dx = dy * scale`, and `dscale[image][c]` is the sum over the
/// image's pixels of `dy * x`.
///
/// # Panics
/// As [`scale_forward`]; `dy` and `dx` are as long as `x`, `dscale` as `scale`.
pub fn scale_backward<E: Element>(
    isa: Isa,
    channels: usize,
    [x, dy]: [&[E]; 2],
    scale: &[f32],
    dx: &mut [E],
    dscale: &mut [f32],
) {
    let num_pixels = pixels_of_image(channels, x.len(), scale.len());
    assert!(
        dy.len() == x.len() && dx.len() == x.len() && dscale.len() == scale.len(),
        "gradients are as long as what they are of"
    );
    let (output, sums) = (Shared::new(dx), Shared::new(dscale));
    for_each_strip(channels, scale.len() / channels, |image, range| {
        let job = Strip {
            num_pixels,
            channels,
            range,
            image,
            input: dy,
            scale,
            other: Some(x),
            output: output.get(),
            sums: sums.get(),
        };
        // SAFETY: the set is available; each task has its own channels of its own image.
        unsafe { isa.run(job) }
    });
}

fn pixels_of_image(channels: usize, x: usize, scale: usize) -> usize {
    assert!(
        channels > 0 && scale.is_multiple_of(channels) && x.is_multiple_of(scale.max(1)),
        "{x} elements and {scale} factors do not fit {channels} channels"
    );
    x / scale.max(1)
}

/// Calls `work` in parallel with every image and strip of its channels.
fn for_each_strip(channels: usize, images: usize, work: impl Fn(usize, Range<usize>) + Sync) {
    let strips = channels.div_ceil(STRIP);
    for_each_task(images * strips, |task| {
        let start = task % strips * STRIP;
        work(task / strips, start..channels.min(start + STRIP));
    });
}

/// `output = input * scale` for some channels of an image, and the sums of `input * other`, if there is
/// one, into `sums`.
struct Strip<'a, E> {
    num_pixels: usize,
    channels: usize,
    range: Range<usize>,
    image: usize,
    input: &'a [E],
    scale: &'a [f32],
    other: Option<&'a [E]>,
    output: *mut E,
    /// Written only if there is another operand.
    sums: *mut f32,
}

impl<E: Element> Job for Strip<'_, E> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Range { start, end } = self.range;
        let mut channel = start;
        // SAFETY: the vectors lie inside the range.
        unsafe {
            while channel + VECTORS * V::LANES <= end {
                self.vectors::<V, VECTORS>(channel, V::LANES);
                channel += VECTORS * V::LANES;
            }
            while channel < end {
                let len = V::LANES.min(end - channel);
                self.vectors::<V, 1>(channel, len);
                channel += len;
            }
        }
    }
}

impl<E: Element> Strip<'_, E> {
    /// `N` vectors of `len` channels.
    ///
    /// # Safety
    /// They lie inside the range of the task.
    #[inline(always)]
    unsafe fn vectors<V: Vector, const N: usize>(&self, channel: usize, len: usize) {
        let factors = self.image * self.channels + channel;
        let first = self.image * self.num_pixels * self.channels + channel;
        // SAFETY: the contract; the lengths of all operands were checked.
        unsafe {
            let mut scale = [V::splat(0.0); N];
            for n in 0..N {
                let from = self.scale.as_ptr().add(factors + n * V::LANES);
                scale[n] = f32::load_part::<V>(from, len);
            }
            let mut totals = [V::splat(0.0); N];
            for block in (0..self.num_pixels).step_by(SUM_PIXELS) {
                let mut sums = [V::splat(0.0); N];
                for pixel in block..self.num_pixels.min(block + SUM_PIXELS) {
                    for n in 0..N {
                        let at = first + pixel * self.channels + n * V::LANES;
                        let input = E::load_part::<V>(self.input.as_ptr().add(at), len);
                        if let Some(other) = self.other {
                            let other = E::load_part::<V>(other.as_ptr().add(at), len);
                            sums[n] = input.mul_add(other, sums[n]);
                        }
                        E::store_part(input.mul(scale[n]), self.output.add(at), len);
                    }
                }
                for n in 0..N {
                    totals[n] = totals[n].add(sums[n]);
                }
            }
            if self.other.is_some() {
                for n in 0..N {
                    f32::store_part(totals[n], self.sums.add(factors + n * V::LANES), len);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};
    use proptest::prelude::*;

    use super::super::reference::{noise, relative_error, rounded, rounding_error, widened};
    use super::*;

    fn check<E: Element>([images, pixels, channels]: [usize; 3]) {
        let len = images * pixels * channels;
        let (x, dy): (Vec<E>, Vec<E>) = (rounded(&noise(len, 1)), rounded(&noise(len, 2)));
        let scale = noise(images * channels, 3);
        let factor = |at: usize| at / (pixels * channels) * channels + at % channels;
        let product =
            |values: &[E], at: usize| f64::from(values[at].to_f32()) * f64::from(scale[factor(at)]);
        let want_y: Vec<f64> = (0..len).map(|at| product(&x, at)).collect();
        let want_dx: Vec<f64> = (0..len).map(|at| product(&dy, at)).collect();
        let mut want_dscale = vec![0.0; scale.len()];
        for at in 0..len {
            want_dscale[factor(at)] += f64::from(x[at].to_f32()) * f64::from(dy[at].to_f32());
        }
        let nan = E::from_f32(f32::NAN);
        for isa in Isa::available() {
            let (mut y, mut dx) = (vec![nan; len], vec![nan; len]);
            let mut dscale = vec![f32::NAN; scale.len()];
            scale_forward(isa, channels, &x, &scale, &mut y);
            scale_backward(isa, channels, [&x, &dy], &scale, &mut dx, &mut dscale);
            let stored = 1e-7 + rounding_error::<E>();
            for (name, got, want, most) in [
                ("y", widened(&y), &want_y, stored),
                ("dx", widened(&dx), &want_dx, stored),
                ("dscale", dscale, &want_dscale, 2e-6),
            ] {
                let error = relative_error(&got, want);
                assert!(
                    error <= most,
                    "{isa:?} {} {name} of {images} x {pixels} x {channels}: {error:.1e}",
                    std::any::type_name::<E>()
                );
            }
        }
    }

    #[test]
    fn a_factor_that_is_not_finite_reaches_its_image_and_channel_only() {
        let (x, mut scale) = (noise(2 * 3 * 20, 1), noise(2 * 20, 2));
        scale[20 + 7] = f32::NAN;
        for isa in Isa::available() {
            let mut y = vec![0.0; x.len()];
            scale_forward(isa, 20, &x, &scale, &mut y);
            let odd: Vec<usize> = (0..y.len()).filter(|at| !y[*at].is_finite()).collect();
            assert_eq!(odd, [67, 87, 107], "{isa:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..Default::default() })]

        #[test]
        fn any_size_agrees(images in 1usize..4, pixels in 1usize..600, channels in 1usize..150) {
            check::<f32>([images, pixels, channels]);
            check::<bf16>([images, pixels, channels]);
            check::<f16>([images, pixels, channels]);
        }
    }
}
