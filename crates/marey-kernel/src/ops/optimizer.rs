//! The optimiser's part of a step: the public functions, and what other devices run.
//!
//! They work on plain tensors, which the autodiff engine does not follow; so this extension has no `Autodiff` side.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::tensor::Tensor;
use burn_flex::{Flex, FlexTensor};

use super::element::elements_mut;
use super::flex::{dense, elements, filled};
use super::has_kernels;
use crate::raw::Isa;
use crate::raw::optimizer::{self, AdamWFactors, AdamWStep, SgdStep};

/// See the public functions of the same names for shapes.
#[backend_extension(Flex)]
pub(crate) trait OptimizerOps: Backend {
    /// [`crate::adamw`]; gives the parameter and the moments.
    fn adamw(
        parameter: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        moment_1: FloatTensor<Self>,
        moment_2: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// [`crate::sgd`] with a velocity.
    fn sgd_with_velocity(
        parameter: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        velocity: FloatTensor<Self>,
        step: SgdStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// [`crate::sgd`] without a velocity.
    fn sgd(
        parameter: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        step: SgdStep,
    ) -> FloatTensor<Self>;

    /// [`crate::sum_of_squares`].
    fn sum_of_squares(x: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// Parameter and moments after one step of AdamW. The moments start as zeros.
///
/// Tensors that nobody else shares are changed where they lie.
///
/// # Shapes
/// All of one shape.
///
/// # Panics
/// If the shapes differ, or the tensors lie on different devices or are tracked by autodiff.
pub fn adamw<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    moments: [Tensor<D>; 2],
    step: AdamWStep,
) -> (Tensor<D>, [Tensor<D>; 2]) {
    let [moment_1, moment_2] = moments;
    check([&parameter, &gradient, &moment_1, &moment_2]);
    if takes([&parameter, &gradient, &moment_1, &moment_2]) {
        let (parameter, moment_1, moment_2) = <Dispatch as OptimizerOps>::adamw(
            parameter.into_dispatch(),
            gradient.into_dispatch(),
            moment_1.into_dispatch(),
            moment_2.into_dispatch(),
            step,
        );
        let moments = [moment_1, moment_2].map(Tensor::from_dispatch);
        return (Tensor::from_dispatch(parameter), moments);
    }
    #[cfg(feature = "gpu")]
    if crate::gpu::takes_f32([&parameter, &gradient, &moment_1, &moment_2]) {
        return crate::gpu::adamw(parameter, gradient, [moment_1, moment_2], step);
    }
    let factors = AdamWFactors::of(&step);
    let ([beta_1, beta_2], [share_1, share_2]) = (factors.betas, factors.shares);
    let gradient = gradient * factors.gradient;
    let moment_1 = moment_1 * beta_1 + gradient.clone() * share_1;
    let moment_2 = moment_2 * beta_2 + gradient.square() * share_2;
    let root = moment_2.clone().sqrt() * factors.root + factors.epsilon;
    let parameter = parameter * factors.kept - moment_1.clone() * factors.step / root;
    (parameter, [moment_1, moment_2])
}

/// Parameter and velocity after one step of SGD; without a velocity there is no momentum. It starts as zeros.
///
/// Tensors that nobody else shares are changed where they lie.
///
/// # Shapes
/// All of one shape.
///
/// # Panics
/// As [`adamw`].
pub fn sgd<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    velocity: Option<Tensor<D>>,
    step: SgdStep,
) -> (Tensor<D>, Option<Tensor<D>>) {
    check([
        &parameter,
        &gradient,
        velocity.as_ref().unwrap_or(&parameter),
    ]);
    if takes([
        &parameter,
        &gradient,
        velocity.as_ref().unwrap_or(&parameter),
    ]) {
        let (parameter, gradient) = (parameter.into_dispatch(), gradient.into_dispatch());
        let Some(velocity) = velocity else {
            let parameter = <Dispatch as OptimizerOps>::sgd(parameter, gradient, step);
            return (Tensor::from_dispatch(parameter), None);
        };
        let velocity = velocity.into_dispatch();
        let (parameter, velocity) =
            <Dispatch as OptimizerOps>::sgd_with_velocity(parameter, gradient, velocity, step);
        return (
            Tensor::from_dispatch(parameter),
            Some(Tensor::from_dispatch(velocity)),
        );
    }
    let gradient = gradient * step.gradient_factor + parameter.clone() * step.weight_decay;
    let velocity = velocity.map(|velocity| velocity * step.momentum + gradient.clone());
    let change = velocity.clone().unwrap_or(gradient);
    (parameter - change * step.lr, velocity)
}

/// The sum of the squares of all elements of all tensors, `[1]`; not finite if one of them is not. Without a tensor there
/// is none.
///
/// # Panics
/// If one of them is tracked by autodiff.
pub fn sum_of_squares(tensors: Vec<Tensor<1>>) -> Option<Tensor<1>> {
    if tensors.is_empty() {
        return None;
    }
    tensors.iter().for_each(|x| check([x]));
    #[cfg(feature = "gpu")]
    if crate::gpu::takes_f32(&tensors) {
        return Some(crate::gpu::sum_of_squares(tensors));
    }
    let squares = |x: Tensor<1>| match takes([&x]) {
        true => Tensor::from_dispatch(<Dispatch as OptimizerOps>::sum_of_squares(
            x.into_dispatch(),
        )),
        false => x.square().sum(),
    };
    Some(Tensor::cat(tensors.into_iter().map(squares).collect(), 0).sum())
}

/// `a * shares[0] + b * shares[1]`: a moving average where the shares add up to 1.
///
/// # Panics
/// If the shapes differ, or the tensors lie on different devices or are tracked by autodiff.
pub fn blend<const D: usize>(a: Tensor<D>, b: Tensor<D>, shares: [f64; 2]) -> Tensor<D> {
    check([&a, &b]);
    #[cfg(feature = "gpu")]
    if crate::gpu::takes_f32([&a, &b]) {
        return crate::gpu::blend(a, b, shares);
    }
    a * shares[0] + b * shares[1]
}

fn check<const D: usize, const N: usize>(tensors: [&Tensor<D>; N]) {
    let dims = tensors.map(|tensor| tensor.dims());
    assert!(
        dims.iter().all(|other| *other == dims[0]),
        "an optimiser step on tensors of the shapes {dims:?}"
    );
    assert!(
        tensors.iter().all(|tensor| !tensor.device().is_autodiff()),
        "an optimiser step on tensors that autodiff tracks"
    );
}

fn takes<const D: usize, const N: usize>(tensors: [&Tensor<D>; N]) -> bool {
    tensors.into_iter().all(has_kernels)
}

impl OptimizerOps for Flex {
    fn adamw(
        mut parameter: FlexTensor,
        gradient: FlexTensor,
        mut moment_1: FlexTensor,
        mut moment_2: FlexTensor,
        step: AdamWStep,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        optimizer::adamw(
            Isa::best(),
            elements_mut(&mut parameter),
            elements(&dense(gradient)),
            [elements_mut(&mut moment_1), elements_mut(&mut moment_2)],
            &step,
        );
        (parameter, moment_1, moment_2)
    }

    fn sgd_with_velocity(
        mut parameter: FlexTensor,
        gradient: FlexTensor,
        mut velocity: FlexTensor,
        step: SgdStep,
    ) -> (FlexTensor, FlexTensor) {
        optimizer::sgd(
            Isa::best(),
            elements_mut(&mut parameter),
            elements(&dense(gradient)),
            Some(elements_mut(&mut velocity)),
            &step,
        );
        (parameter, velocity)
    }

    fn sgd(mut parameter: FlexTensor, gradient: FlexTensor, step: SgdStep) -> FlexTensor {
        optimizer::sgd(
            Isa::best(),
            elements_mut(&mut parameter),
            elements(&dense(gradient)),
            None,
            &step,
        );
        parameter
    }

    fn sum_of_squares(x: FlexTensor) -> FlexTensor {
        filled([1], |sum| {
            sum[0] = optimizer::sum_of_squares(Isa::best(), elements(&dense(x))) as f32;
        })
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device, Distribution};

    use super::*;

    const DIMS: [usize; 3] = [5, 7, 11];

    fn random(dtype: DType) -> Tensor<3> {
        let device = Device::flex();
        (Tensor::<3>::random(DIMS, Distribution::Default, &device) - 0.5).cast(dtype)
    }

    fn check_close(ours: &Tensor<3>, burns: &Tensor<3>, label: &str) {
        let error = (ours.clone().cast(DType::F64) - burns.clone())
            .abs()
            .max()
            .into_scalar::<f64>();
        assert!(error < 1e-6, "{label} is off by {error:.1e}");
    }

    /// In `f64` there are no kernels, so the composition runs.
    #[test]
    fn kernels_and_composition_agree() {
        let step = AdamWStep {
            gradient_factor: 0.3,
            lr: 0.01,
            weight_decay: 0.1,
            betas: [0.9, 0.99],
            epsilon: 1e-8,
            time: 2,
        };
        // The gradient does not lie in order.
        let gradient = Tensor::<3>::random([11, 7, 5], Distribution::Default, &Device::flex());
        let gradient = gradient.permute([2, 1, 0]);
        let (p, m, v) = (
            random(DType::F32),
            random(DType::F32),
            random(DType::F32).abs(),
        );
        let wide = |x: &Tensor<3>| x.clone().cast(DType::F64);
        let burns = adamw(wide(&p), wide(&gradient), [wide(&m), wide(&v)], step);
        let ours = adamw(p.clone(), gradient.clone(), [m.clone(), v], step);
        check_close(&ours.0, &burns.0, "AdamW's parameter");
        check_close(&ours.1[0], &burns.1[0], "the first moment");
        check_close(&ours.1[1], &burns.1[1], "the second moment");

        let step = SgdStep {
            gradient_factor: 0.3,
            lr: 0.01,
            weight_decay: 0.1,
            momentum: 0.9,
        };
        for velocity in [Some(m), None] {
            let burns = sgd(wide(&p), wide(&gradient), velocity.as_ref().map(wide), step);
            let ours = sgd(p.clone(), gradient.clone(), velocity, step);
            check_close(&ours.0, &burns.0, "SGD's parameter");
            if let (Some(ours), Some(burns)) = (ours.1, burns.1) {
                check_close(&ours, &burns, "the velocity");
            }
        }
        let [ours, burns] = [gradient.clone(), wide(&gradient)]
            .map(|x| sum_of_squares(vec![x.flatten(0, 2)]).expect("a tensor"))
            .map(|sum| sum.into_data().convert::<f64>());
        ours.assert_approx_eq::<f64>(&burns, burn::tensor::Tolerance::relative(1e-6));
    }

    #[test]
    fn what_is_shared_is_copied_and_what_is_not_is_changed_where_it_lies() {
        let step = SgdStep {
            gradient_factor: 1.0,
            lr: 1.0,
            weight_decay: 0.0,
            momentum: 0.9,
        };
        let flex = |value: f32| FlexTensor::from_data(burn::tensor::TensorData::from([value; 4]));
        let start = |tensor: &FlexTensor| tensor.bytes().as_ptr();
        let (parameter, velocity) = (flex(3.0), flex(0.0));
        let (kept, place) = (parameter.clone(), start(&velocity));
        let (parameter, velocity) = Flex::sgd_with_velocity(parameter, flex(1.0), velocity, step);
        assert_eq!(elements(&parameter), [2.0; 4]);
        assert_eq!(elements(&kept), [3.0; 4]);
        assert_eq!(start(&velocity), place);
    }
}
