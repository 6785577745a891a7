//! Activations that can be fused into the end of another kernel.

use super::simd::Vector;

/// A function of each element, applied where a fused kernel stores its result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `x`.
    #[default]
    Identity,
    /// `max(x, 0)`; NaN stays NaN.
    Relu,
    /// `min(max(x, 0), 6)`; NaN stays NaN.
    Relu6,
    /// `x / (1 + exp(-x))`, also called swish; NaN stays NaN, and infinities stay infinite.
    Silu,
    /// `1 / (1 + exp(-x))`; NaN stays NaN.
    Sigmoid,
}

impl Activation {
    /// The function's value.
    ///
    /// # Safety
    /// The machine has the instructions of `V`.
    #[inline(always)]
    pub(crate) unsafe fn apply<V: Vector>(self, x: V) -> V {
        // SAFETY: the caller has the instructions of `V`.
        unsafe {
            match self {
                Self::Identity => x,
                Self::Relu => V::splat(0.0).max(x),
                Self::Relu6 => V::splat(6.0).min(V::splat(0.0).max(x)),
                Self::Silu => x.div(V::splat(1.0).add(exp(V::splat(0.0).sub(x)))),
                Self::Sigmoid => sigmoid(x),
            }
        }
    }

    /// `gradient` times the function's derivative at `x`.
    ///
    /// # Safety
    /// The machine has the instructions of `V`.
    #[inline(always)]
    pub(crate) unsafe fn backward<V: Vector>(self, x: V, gradient: V) -> V {
        // SAFETY: the caller has the instructions of `V`.
        unsafe {
            match self {
                Self::Identity => gradient,
                Self::Relu => x.keep_above(V::splat(0.0), gradient),
                Self::Relu6 => {
                    let below = x.keep_below(V::splat(6.0), gradient);
                    x.keep_above(V::splat(0.0), below)
                }
                Self::Silu => {
                    let sigmoid = sigmoid(x);
                    // s + x s (1 - s)
                    let slope = x.mul(sigmoid).mul_add(V::splat(1.0).sub(sigmoid), sigmoid);
                    gradient.mul(slope)
                }
                Self::Sigmoid => {
                    let sigmoid = sigmoid(x);
                    gradient.mul(sigmoid.mul(V::splat(1.0).sub(sigmoid)))
                }
            }
        }
    }

    /// The function's value on one element, slowly: the reference of the tests.
    pub fn of(self, x: f64) -> f64 {
        match self {
            Self::Identity => x,
            Self::Relu if x < 0.0 => 0.0,
            Self::Relu => x,
            Self::Relu6 => x.clamp(0.0, 6.0),
            Self::Silu => x / (1.0 + (-x).exp()),
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        }
    }
}

/// `1 / (1 + exp(-x))`.
///
/// # Safety
/// The machine has the instructions of `V`.
#[inline(always)]
pub(crate) unsafe fn sigmoid<V: Vector>(x: V) -> V {
    // SAFETY: the caller has the instructions of `V`.
    unsafe {
        let one = V::splat(1.0);
        one.div(one.add(exp(V::splat(0.0).sub(x))))
    }
}

/// The hyperbolic tangent, to an absolute error of some 1e-7.
///
/// # Safety
/// The machine has the instructions of `V`.
#[inline(always)]
pub(crate) unsafe fn tanh<V: Vector>(x: V) -> V {
    // SAFETY: the caller has the instructions of `V`.
    unsafe {
        let two = V::splat(2.0);
        sigmoid(x.mul(two)).mul_add(two, V::splat(-1.0))
    }
}

/// `e` to the power of `x` with a relative error of some 1e-7, for `x` cut to -87..=88.
///
/// The classic split `x = n ln 2 + r` with a polynomial in `r` (Cephes `expf`).
///
/// # Safety
/// The machine has the instructions of `V`.
#[inline(always)]
unsafe fn exp<V: Vector>(x: V) -> V {
    // SAFETY: the caller has the instructions of `V`.
    unsafe {
        // In this operand order NaN passes through.
        let x = V::splat(-87.0).max(V::splat(88.0).min(x));
        // Adding and taking off 1.5 * 2^23 rounds to the nearest whole number.
        let magic = V::splat(12_582_912.0);
        let whole = x
            .mul_add(V::splat(std::f32::consts::LOG2_E), magic)
            .sub(magic);
        let rest = whole.mul_add(V::splat(-0.693_359_4), x);
        let rest = whole.mul_add(V::splat(2.121_944_4e-4), rest);
        let mut poly = V::splat(1.987_569_1e-4);
        for coefficient in [
            1.398_199_9e-3,
            8.333_452e-3,
            4.166_579_6e-2,
            0.166_666_65,
            0.5,
        ] {
            poly = poly.mul_add(rest, V::splat(coefficient));
        }
        let power = poly.mul_add(rest.mul(rest), rest).add(V::splat(1.0));
        power.mul(whole.exp2_whole())
    }
}

#[cfg(test)]
mod tests {
    use super::super::simd::{Isa, Job};
    use super::*;

    struct Apply<'a>(Activation, &'a mut [f32]);

    /// Puts the function's slope in the place of each value.
    struct Slope<'a>(Activation, &'a mut [f32]);

    impl Job for Slope<'_> {
        type Output = ();
        #[inline(always)]
        unsafe fn run<V: Vector>(self) {
            for piece in self.1.chunks_exact_mut(V::LANES) {
                // SAFETY: a piece is one vector long.
                unsafe {
                    let x = V::load(piece.as_ptr());
                    let slope = self.0.backward(x, V::splat(1.0));
                    slope.store(piece.as_mut_ptr());
                }
            }
        }
    }

    impl Job for Apply<'_> {
        type Output = ();
        #[inline(always)]
        unsafe fn run<V: Vector>(self) {
            for piece in self.1.chunks_exact_mut(V::LANES) {
                // SAFETY: a piece is one vector long.
                unsafe {
                    self.0
                        .apply(V::load(piece.as_ptr()))
                        .store(piece.as_mut_ptr())
                }
            }
        }
    }

    #[test]
    fn silu_follows_the_formula_on_every_instruction_set() {
        for isa in Isa::available() {
            let inputs: Vec<f32> = (0..1600).map(|i| (i as f32 - 800.0) / 8.0).collect();
            let mut outputs = inputs.clone();
            // SAFETY: the set is available.
            unsafe { isa.run(Apply(Activation::Silu, &mut outputs)) };
            for (x, y) in inputs.iter().zip(outputs) {
                let want = Activation::Silu.of(f64::from(*x));
                let error = (f64::from(y) - want).abs();
                assert!(
                    error <= 4e-7 * want.abs() + 1e-35,
                    "{isa:?} silu({x}) = {y}, not {want}"
                );
            }
        }
    }

    #[test]
    fn relu6_is_cut_at_both_ends_and_lets_gradients_through_between() {
        for isa in Isa::available() {
            let inputs: Vec<f32> = (0..64).map(|i| i as f32 / 4.0 - 5.0).collect();
            let mut outputs = inputs.clone();
            outputs.push(f32::NAN);
            outputs.resize(80, f32::INFINITY);
            // SAFETY: the set is available.
            unsafe { isa.run(Apply(Activation::Relu6, &mut outputs)) };
            for (x, y) in inputs.iter().zip(&outputs) {
                assert_eq!(*y, x.clamp(0.0, 6.0), "{isa:?} of {x}");
                assert_eq!(f64::from(*y), Activation::Relu6.of(f64::from(*x)));
            }
            assert!(outputs[64].is_nan() && outputs[65] == 6.0, "{isa:?}");
            let mut slopes = inputs.clone();
            // SAFETY: the set is available.
            unsafe { isa.run(Slope(Activation::Relu6, &mut slopes)) };
            for (x, slope) in inputs.iter().zip(slopes) {
                let expected = if *x > 0.0 && *x < 6.0 { 1.0 } else { 0.0 };
                assert_eq!(slope, expected, "{isa:?} at {x}");
            }
        }
    }

    #[test]
    fn values_that_are_not_finite_stay_so() {
        for isa in Isa::available() {
            for activation in [Activation::Relu, Activation::Silu] {
                let mut values = [f32::NAN; 16];
                values[1] = f32::INFINITY;
                // SAFETY: the set is available.
                unsafe { isa.run(Apply(activation, &mut values)) };
                assert!(
                    values[0].is_nan() && values[1] == f32::INFINITY,
                    "{isa:?} {activation:?}"
                );
            }
        }
    }
}
