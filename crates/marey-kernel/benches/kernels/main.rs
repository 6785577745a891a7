//! How fast each kernel is by itself: `cargo bench -p marey-kernel`, or with a part of a name behind it.
//!
//! Convolutions count floating-point operations: `Gitem/s` is GFLOP/s. Norms and pools, which memory bounds, count the
//! bytes that a pass must read and write. `RAYON_NUM_THREADS` sets the threads. For a comparison with PyTorch in the
//! same run there is `reference/bench_kernels.py`, on the same cases.

mod cases;
mod operands;

use divan::{
    Bencher,
    counter::{BytesCount, ItemsCount},
};
use half::bf16;
use marey_kernel::raw::{Element, conv::Sets};

use cases::{Case, Cost, Direction, Work};
use operands::{Operands, Passes};

fn main() {
    divan::main();
}

/// The cases that have this direction and are of this kind.
fn cases(direction: Direction, is_wanted: fn(&Work) -> bool) -> Vec<Case> {
    cases::all()
        .into_iter()
        .filter(|case| is_wanted(&case.work) && case.directions().contains(&direction))
        .collect()
}

fn is_conv(work: &Work) -> bool {
    matches!(work, Work::Conv(_))
}

fn is_other(work: &Work) -> bool {
    !is_conv(work)
}

fn run<E: Element>(bencher: Bencher<'_, '_>, case: &Case, direction: Direction) {
    let mut operands = Operands::<E>::new(case, Sets::best());
    match case.cost(direction) {
        Cost::Flops(flops) => bencher
            .counter(ItemsCount::new(flops as u64))
            .bench_local(|| operands.run(direction)),
        Cost::Elements(elements) => bencher
            .counter(BytesCount::of_many::<E>(elements))
            .bench_local(|| operands.run(direction)),
    }
}

#[divan::bench(types = [f32, bf16], args = cases(Direction::Forward, is_conv), max_time = 0.5)]
fn conv_forward<E: Element>(bencher: Bencher<'_, '_>, case: &Case) {
    run::<E>(bencher, case, Direction::Forward);
}

#[divan::bench(types = [f32, bf16], args = cases(Direction::BackwardData, is_conv), max_time = 0.5)]
fn conv_backward_data<E: Element>(bencher: Bencher<'_, '_>, case: &Case) {
    run::<E>(bencher, case, Direction::BackwardData);
}

#[divan::bench(types = [f32, bf16], args = cases(Direction::BackwardWeights, is_conv), max_time = 0.5)]
fn conv_backward_weights<E: Element>(bencher: Bencher<'_, '_>, case: &Case) {
    run::<E>(bencher, case, Direction::BackwardWeights);
}

#[divan::bench(types = [f32, bf16], args = cases(Direction::Forward, is_other), max_time = 0.5)]
fn norm_and_pool_forward<E: Element>(bencher: Bencher<'_, '_>, case: &Case) {
    run::<E>(bencher, case, Direction::Forward);
}

#[divan::bench(types = [f32, bf16], args = cases(Direction::Backward, is_other), max_time = 0.5)]
fn norm_and_pool_backward<E: Element>(bencher: Bencher<'_, '_>, case: &Case) {
    run::<E>(bencher, case, Direction::Backward);
}
