//! What an optimiser does to the parameters, in one pass over them: AdamW, SGD with momentum, and the sum of squares
//! that clipping needs.
//!
//! These kernels do a few operations for each number that they read, so memory decides their speed: what Burn composes
//! from ten passes over parameter, gradient and moments, they do in one.

use super::Element;
use super::parallel::{Shared, for_each_piece, for_each_task};
use super::simd::{Isa, Job, Vector};

/// Elements of a task. Fixed, so that sums do not depend on the number of threads.
const BLOCK: usize = 1 << 15;

/// One step of AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019), as `torch.optim.AdamW`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWStep {
    /// Factor on the gradient before anything else, more than 0: what clipping and loss scaling ask for; else 1.
    pub gradient_factor: f32,
    /// Learning rate of this step.
    pub lr: f64,
    /// Decoupled weight decay: a parameter first loses the share `lr * weight_decay`.
    pub weight_decay: f64,
    /// Decay of the two moments, in `[0, 1)`.
    pub betas: [f64; 2],
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Number of this step, from 1; the moments' start at zero is corrected by it.
    pub time: usize,
}

/// One step of stochastic gradient descent, as `torch.optim.SGD` without dampening.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdStep {
    /// As [`AdamWStep::gradient_factor`].
    pub gradient_factor: f32,
    /// Learning rate of this step.
    pub lr: f64,
    /// L2 penalty added to the gradient.
    pub weight_decay: f64,
    /// Share of the velocity that is kept; without effect where there is no velocity.
    pub momentum: f64,
}

/// What an AdamW step multiplies by, once for all elements.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdamWFactors {
    /// On the gradient.
    pub(crate) gradient: f32,
    /// On the parameter.
    pub(crate) kept: f32,
    /// On the moments of before.
    pub(crate) betas: [f32; 2],
    /// On the gradient and its square.
    pub(crate) shares: [f32; 2],
    /// On the first moment.
    pub(crate) step: f32,
    /// On the root of the second moment.
    pub(crate) root: f32,
    /// Added to the root.
    pub(crate) epsilon: f32,
}

impl AdamWFactors {
    pub(crate) fn of(step: &AdamWStep) -> Self {
        let [beta_1, beta_2] = step.betas;
        // So many steps that this overflows have long made the power 0.
        let time = i32::try_from(step.time).unwrap_or(i32::MAX);
        Self {
            gradient: step.gradient_factor,
            kept: (1.0 - step.lr * step.weight_decay) as f32,
            betas: [beta_1 as f32, beta_2 as f32],
            shares: [(1.0 - beta_1) as f32, (1.0 - beta_2) as f32],
            step: (step.lr / (1.0 - beta_1.powi(time))) as f32,
            root: (1.0 - beta_2.powi(time)).sqrt().recip() as f32,
            epsilon: step.epsilon as f32,
        }
    }
}

/// Changes `parameter` and both `moments` by one step of AdamW. All are of the length of `gradient`.
pub fn adamw(
    isa: Isa,
    parameter: &mut [f32],
    gradient: &[f32],
    moments: [&mut [f32]; 2],
    step: &AdamWStep,
) {
    let len = gradient.len();
    assert!(
        parameter.len() == len && moments.iter().all(|moment| moment.len() == len),
        "an optimiser step on tensors of different sizes"
    );
    let factors = AdamWFactors::of(step);
    let (parameter, moments) = (Shared::new(parameter), moments.map(Shared::new));
    for_each_task(len.div_ceil(BLOCK), |task| {
        let start = task * BLOCK;
        let len = BLOCK.min(len - start);
        // SAFETY: the set is available; the block lies inside all of the slices, and no other task has it.
        unsafe {
            isa.run(AdamWBlock {
                factors,
                gradient: &gradient[start..start + len],
                parameter: parameter.get().add(start),
                moments: moments.map(|moment| moment.get().add(start)),
            });
        }
    });
}

/// Changes `parameter` and, if there is one, `velocity` by one step of SGD. All are of the length of `gradient`.
pub fn sgd(
    isa: Isa,
    parameter: &mut [f32],
    gradient: &[f32],
    velocity: Option<&mut [f32]>,
    step: &SgdStep,
) {
    let len = gradient.len();
    assert!(
        parameter.len() == len && velocity.as_ref().is_none_or(|v| v.len() == len),
        "an optimiser step on tensors of different sizes"
    );
    let (parameter, velocity) = (Shared::new(parameter), velocity.map(Shared::new));
    for_each_task(len.div_ceil(BLOCK), |task| {
        let start = task * BLOCK;
        let len = BLOCK.min(len - start);
        // SAFETY: the set is available; the block lies inside all of the slices, and no other task has it.
        unsafe {
            isa.run(SgdBlock {
                step,
                gradient: &gradient[start..start + len],
                parameter: parameter.get().add(start),
                velocity: velocity.map(|velocity| velocity.get().add(start)),
            });
        }
    });
}

/// The sum of the squares of `values`; not finite if one of them is not, or if a square is too large for `f32`.
///
/// Blocks of a fixed size are summed in `f32` and their sums in `f64`, in order: the result depends on the instruction
/// set and on nothing else.
pub fn sum_of_squares(isa: Isa, values: &[f32]) -> f64 {
    let mut sums = vec![0.0f64; values.len().div_ceil(BLOCK)];
    for_each_piece(&mut sums, 1, |block, sum| {
        let end = values.len().min((block + 1) * BLOCK);
        // SAFETY: the set is available; the job has a slice.
        sum[0] = unsafe { isa.run(Squares(&values[block * BLOCK..end])) };
    });
    sums.iter().sum()
}

/// A part of all tensors: as many elements as the gradient's, valid and nobody else's.
struct AdamWBlock<'a> {
    factors: AdamWFactors,
    gradient: &'a [f32],
    parameter: *mut f32,
    moments: [*mut f32; 2],
}

impl Job for AdamWBlock<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Self {
            factors,
            gradient,
            parameter,
            moments: [moment_1, moment_2],
        } = self;
        let mut at = 0;
        // SAFETY: `len` elements from `at` lie in the block.
        unsafe {
            let [beta_1, beta_2] = factors.betas;
            let [share_1, share_2] = factors.shares;
            let (beta_1, beta_2) = (V::splat(beta_1), V::splat(beta_2));
            let (share_1, share_2) = (V::splat(share_1), V::splat(share_2));
            let (kept, epsilon) = (V::splat(factors.kept), V::splat(factors.epsilon));
            let (step, root) = (V::splat(factors.step), V::splat(factors.root));
            while at < gradient.len() {
                let len = V::LANES.min(gradient.len() - at);
                let load = |from: *const f32| f32::load_part::<V>(from.add(at), len);
                let g = load(gradient.as_ptr()).mul(V::splat(factors.gradient));
                let m = load(moment_1).mul_add(beta_1, g.mul(share_1));
                let v = load(moment_2).mul_add(beta_2, g.mul(g).mul(share_2));
                let change = m.mul(step).div(v.sqrt().mul_add(root, epsilon));
                let p = load(parameter).mul(kept).sub(change);
                f32::store_part(m, moment_1.add(at), len);
                f32::store_part(v, moment_2.add(at), len);
                f32::store_part(p, parameter.add(at), len);
                at += len;
            }
        }
    }
}

/// As [`AdamWBlock`].
struct SgdBlock<'a> {
    step: &'a SgdStep,
    gradient: &'a [f32],
    parameter: *mut f32,
    velocity: Option<*mut f32>,
}

impl Job for SgdBlock<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Self {
            step,
            gradient,
            parameter,
            velocity,
        } = self;
        let mut at = 0;
        // SAFETY: `len` elements from `at` lie in the block.
        unsafe {
            let (factor, penalty) = (
                V::splat(step.gradient_factor),
                V::splat(step.weight_decay as f32),
            );
            let (lr, momentum) = (V::splat(step.lr as f32), V::splat(step.momentum as f32));
            while at < gradient.len() {
                let len = V::LANES.min(gradient.len() - at);
                let load = |from: *const f32| f32::load_part::<V>(from.add(at), len);
                let p = load(parameter);
                let mut change = p.mul_add(penalty, load(gradient.as_ptr()).mul(factor));
                if let Some(velocity) = velocity {
                    change = load(velocity).mul_add(momentum, change);
                    f32::store_part(change, velocity.add(at), len);
                }
                f32::store_part(p.sub(change.mul(lr)), parameter.add(at), len);
                at += len;
            }
        }
    }
}

/// Sum of the squares of one block.
struct Squares<'a>(&'a [f32]);

impl Job for Squares<'_> {
    type Output = f64;

    #[inline(always)]
    unsafe fn run<V: Vector>(self) -> f64 {
        /// Sums that are built at the same time, since each addition waits for the one before.
        const SUMS: usize = 4;
        let values = self.0;
        // SAFETY: whole vectors of the slice, and then what is left of it.
        unsafe {
            let mut sums = [V::splat(0.0); SUMS];
            let mut at = 0;
            while at + SUMS * V::LANES <= values.len() {
                for (idx, sum) in sums.iter_mut().enumerate() {
                    let x = V::load(values.as_ptr().add(at + idx * V::LANES));
                    *sum = x.mul_add(x, *sum);
                }
                at += SUMS * V::LANES;
            }
            while at < values.len() {
                let len = V::LANES.min(values.len() - at);
                let x: V = f32::load_part(values.as_ptr().add(at), len);
                sums[0] = x.mul_add(x, sums[0]);
                at += len;
            }
            let mut total = 0.0;
            for sum in sums {
                let mut lanes = [0.0f32; super::simd::MAX_LANES];
                sum.store(lanes.as_mut_ptr());
                total += lanes[..V::LANES].iter().map(|&x| f64::from(x)).sum::<f64>();
            }
            total
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of both signs and many sizes.
    fn numbers(len: usize, seed: usize) -> Vec<f32> {
        let number = |i: usize| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1000.0 - 1.0;
        (0..len).map(number).collect()
    }

    /// Whole blocks, parts of one, parts of a vector, nothing.
    const LENGTHS: [usize; 5] = [0, 1, 37, BLOCK, 2 * BLOCK + 1021];

    fn close(found: &[f32], expected: &[f64], label: &str) {
        for (idx, (found, expected)) in found.iter().zip(expected).enumerate() {
            let error = (f64::from(*found) - expected).abs();
            assert!(
                error <= 2e-6 * expected.abs().max(0.1),
                "{label} at {idx}: {found}, not {expected}"
            );
        }
    }

    #[test]
    fn adamw_follows_the_formula_on_every_instruction_set() {
        let mut step = AdamWStep {
            gradient_factor: 0.5,
            lr: 0.01,
            weight_decay: 0.1,
            betas: [0.9, 0.999],
            epsilon: 1e-8,
            time: 0,
        };
        for (isa, len) in Isa::available()
            .into_iter()
            .flat_map(|isa| LENGTHS.map(|len| (isa, len)))
        {
            let mut p = numbers(len, 1);
            let (mut m, mut v) = (vec![0.0; len], vec![0.0; len]);
            let mut expected: Vec<[f64; 3]> = p.iter().map(|&p| [f64::from(p), 0.0, 0.0]).collect();
            for time in 1..=3 {
                step.time = time;
                let g = numbers(len, 10 + time);
                adamw(isa, &mut p, &g, [&mut m, &mut v], &step);
                for ([p, m, v], g) in expected.iter_mut().zip(&g) {
                    let g = 0.5 * f64::from(*g);
                    *m = 0.9 * *m + 0.1 * g;
                    *v = 0.999 * *v + 0.001 * g * g;
                    let [m, v] = [
                        *m / (1.0 - 0.9f64.powi(time as i32)),
                        *v / (1.0 - 0.999f64.powi(time as i32)),
                    ];
                    *p = *p * (1.0 - 0.01 * 0.1) - 0.01 * m / (v.sqrt() + 1e-8);
                }
            }
            for (idx, found) in [&p, &m, &v].into_iter().enumerate() {
                let expected: Vec<f64> = expected.iter().map(|all| all[idx]).collect();
                close(found, &expected, &format!("{isa:?} tensor {idx} of {len}"));
            }
        }
    }

    #[test]
    fn sgd_follows_the_formula_with_and_without_velocity() {
        let step = SgdStep {
            gradient_factor: 2.0,
            lr: 0.1,
            weight_decay: 0.01,
            momentum: 0.9,
        };
        for (isa, len) in Isa::available()
            .into_iter()
            .flat_map(|isa| LENGTHS.map(|len| (isa, len)))
        {
            for has_velocity in [true, false] {
                let mut p = numbers(len, 1);
                let mut velocity = vec![0.0; len];
                let mut expected: Vec<[f64; 2]> = p.iter().map(|&p| [f64::from(p), 0.0]).collect();
                for time in 0..3 {
                    let g = numbers(len, 20 + time);
                    sgd(
                        isa,
                        &mut p,
                        &g,
                        has_velocity.then_some(&mut *velocity),
                        &step,
                    );
                    for ([p, velocity], g) in expected.iter_mut().zip(&g) {
                        let change = 2.0 * f64::from(*g) + 0.01 * *p;
                        *velocity = change + if has_velocity { 0.9 * *velocity } else { 0.0 };
                        *p -= 0.1 * *velocity;
                    }
                }
                let expected: Vec<f64> = expected.iter().map(|all| all[0]).collect();
                close(&p, &expected, &format!("{isa:?} {len} {has_velocity}"));
            }
        }
    }

    #[test]
    fn squares_are_summed_the_same_by_any_number_of_threads() {
        for (isa, len) in Isa::available()
            .into_iter()
            .flat_map(|isa| LENGTHS.map(|len| (isa, len)))
        {
            let values = numbers(len, 3);
            let expected: f64 = values.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
            let sums = [1, 3].map(|threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                pool.expect("threads")
                    .install(|| sum_of_squares(isa, &values))
            });
            assert_eq!(sums[0].to_bits(), sums[1].to_bits(), "{isa:?} {len}");
            assert!(
                (sums[0] - expected).abs() <= 1e-6 * expected,
                "{isa:?} {len}"
            );
        }
    }

    #[test]
    fn a_value_that_is_not_finite_shows_in_the_sum_wherever_it_lies() {
        for isa in Isa::available() {
            for at in [0, 16, 70, BLOCK + 3] {
                for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    let mut values = vec![0.0; BLOCK + 5];
                    values[at] = value;
                    assert!(!sum_of_squares(isa, &values).is_finite(), "{isa:?} {at}");
                }
            }
        }
    }
}
