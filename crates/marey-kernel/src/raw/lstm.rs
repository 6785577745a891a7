//! The recurrence of an LSTM (Hochreiter and Schmidhuber, 1997) over all frames, forward and backward.
//!
//! Gates lie in PyTorch's order: input, forget, cell, output. What does not depend on the state (the
//! product of the inputs with their weights, and the biases) comes from outside, as does its gradient.

use std::ops::Range;

use super::activation::{sigmoid, tanh};
use super::conv::{self, Sets};
use super::element::Element;
use super::memory::Buffer;
use super::parallel::{Shared, for_each_task};
use super::shape::{Conv3dOptions, Conv3dShape};
use super::simd::{Job, MAX_LANES, Vector};

/// The order in which frames are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeOrder {
    /// From the first on.
    Forward,
    /// From the last back.
    Backward,
}

impl TimeOrder {
    /// The other one.
    #[must_use]
    pub const fn reversed(self) -> Self {
        match self {
            Self::Forward => Self::Backward,
            Self::Backward => Self::Forward,
        }
    }
}

/// Sizes of a recurrence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LstmShape {
    /// Clips.
    pub batch: usize,
    /// Frames; at least one.
    pub frames: usize,
    /// Width of the state.
    pub width: usize,
    /// Which frame comes first.
    pub order: TimeOrder,
}

/// What a backward pass needs, and the result: rows of one frame after the other, `[t, b, ..]`.
#[derive(Clone, Debug)]
pub struct LstmMemory {
    /// Gates behind their activations, `[t, b, 4 * width]`.
    gates: Vec<f32>,
    /// `[t, b, width]`.
    cells: Vec<f32>,
    /// `[t, b, width]`.
    states: Vec<f32>,
}

/// Rows `[b, t, width]` that are parts of longer ones.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// `[b, t, pitch]`.
    pub data: &'a [f32],
    /// From the start of one row to that of the next.
    pub pitch: usize,
    /// Where the part begins in its row.
    pub offset: usize,
}

impl LstmMemory {
    /// Writes the states in the order `[b, t]` into rows of `pitch`, from `offset` on in each.
    ///
    /// # Panics
    /// If the rows do not fit into `to`, or the memory is that of another shape.
    pub fn states_to(&self, shape: &LstmShape, to: &mut [f32], pitch: usize, offset: usize) {
        for (at, state) in self.states.chunks_exact(shape.width).enumerate() {
            let (frame, clip) = (at / shape.batch, at % shape.batch);
            let row = (clip * shape.frames + frame) * pitch + offset;
            to[row..row + shape.width].copy_from_slice(state);
        }
    }
}

impl LstmShape {
    /// Frames in the order in which they are read.
    fn frames_in_order(&self) -> impl DoubleEndedIterator<Item = usize> {
        let (frames, order) = (self.frames, self.order);
        (0..frames).map(move |step| match order {
            TimeOrder::Forward => step,
            TimeOrder::Backward => frames - 1 - step,
        })
    }

    /// The frame that is read before `frame`.
    fn before(&self, frame: usize) -> Option<usize> {
        match self.order {
            TimeOrder::Forward => frame.checked_sub(1),
            TimeOrder::Backward => (frame + 1 < self.frames).then_some(frame + 1),
        }
    }

    /// The product of `rows` states with the recurrent weights, as a convolution of single pixels.
    fn product(&self, rows: usize) -> Conv3dShape {
        let weights = [4 * self.width, 1, 1, 1, self.width];
        Conv3dShape::new(
            [rows, 1, 1, 1, self.width],
            weights,
            Conv3dOptions::default(),
        )
    }

    fn state_len(&self) -> usize {
        self.batch * self.width
    }
}

/// The states of all frames, with what their gradient needs, from `inputs` `[b, t, 4 * width]` and the recurrent weights
/// `[4 * width, width]`. State and cell are zero before the first frame.
///
/// # Panics
/// If a length does not fit the shape.
pub fn forward(sets: Sets, shape: &LstmShape, inputs: &[f32], weights: &[f32]) -> LstmMemory {
    let (len, row) = (shape.state_len(), 4 * shape.width);
    assert!(
        inputs.len() == 4 * len * shape.frames,
        "{} inputs do not fit {shape:?}",
        inputs.len()
    );
    let mut memory = LstmMemory {
        gates: vec![0.0; 4 * len * shape.frames],
        cells: vec![0.0; len * shape.frames],
        states: vec![0.0; len * shape.frames],
    };
    for frame in shape.frames_in_order() {
        let gates = &mut memory.gates[4 * len * frame..][..4 * len];
        let mut cell_before = Buffer::<f32>::take(len);
        match shape.before(frame) {
            Some(before) => {
                let states = &memory.states[len * before..][..len];
                recur(sets, shape, states, weights, gates);
                cell_before.copy_from_slice(&memory.cells[len * before..][..len]);
            }
            None => cell_before.fill(0.0),
        }
        for (clip, gates) in gates.chunks_exact_mut(row).enumerate() {
            let inputs = &inputs[(clip * shape.frames + frame) * row..][..row];
            gates
                .iter_mut()
                .zip(inputs)
                .for_each(|(gate, input)| *gate += input);
            let at = len * frame + clip * shape.width;
            let job = Cell {
                gates,
                cell_before: &cell_before[clip * shape.width..][..shape.width],
                cell: &mut memory.cells[at..at + shape.width],
                state: &mut memory.states[at..at + shape.width],
            };
            // SAFETY: the set is available; the slices have the lengths that the job says.
            unsafe { sets.isa.run(job) };
        }
    }
    memory
}

/// Gradients of the inputs `[b, t, 4 * width]` and of the recurrent weights, from those of the states.
///
/// # Panics
/// If a length does not fit the shape.
pub fn backward(
    sets: Sets,
    shape: &LstmShape,
    weights: &[f32],
    memory: &LstmMemory,
    dstates: Rows,
    dinputs: &mut [f32],
    dweights: &mut [f32],
) {
    let (len, width, row) = (shape.state_len(), shape.width, 4 * shape.width);
    assert!(
        dstates.data.len() == dstates.pitch * shape.batch * shape.frames
            && dinputs.len() == 4 * len * shape.frames,
        "{} gradients of states and {} of inputs do not fit {shape:?}",
        dstates.data.len(),
        dinputs.len()
    );
    // Behind the last frame nothing comes back. Rows of dgates are `[t, b]`, as those of the memory.
    let (mut dstate, mut dcell) = (vec![0.0f32; len], vec![0.0f32; len]);
    let mut dgates = Buffer::<f32>::take(4 * len * shape.frames);
    let zeros = vec![0.0f32; len];
    for frame in shape.frames_in_order().rev() {
        let cell_before = match shape.before(frame) {
            Some(before) => &memory.cells[len * before..][..len],
            None => &zeros,
        };
        let dgates = &mut dgates[4 * len * frame..][..4 * len];
        for (clip, dgates) in dgates.chunks_exact_mut(row).enumerate() {
            let (at, of_clip) = (len * frame + clip * width, clip * width..(clip + 1) * width);
            let dstate = &mut dstate[of_clip.clone()];
            let given = (clip * shape.frames + frame) * dstates.pitch + dstates.offset;
            let given = &dstates.data[given..given + width];
            dstate
                .iter_mut()
                .zip(given)
                .for_each(|(sum, value)| *sum += value);
            let job = CellGradient {
                gates: &memory.gates[4 * at..4 * at + row],
                cell: &memory.cells[at..at + width],
                cell_before: &cell_before[of_clip.clone()],
                dstate,
                dcell: &mut dcell[of_clip],
                dgates,
            };
            // SAFETY: the set is available; the slices have the lengths that the job says.
            unsafe { sets.isa.run(job) };
            dinputs[(clip * shape.frames + frame) * row..][..row].copy_from_slice(dgates);
        }
        if shape.before(frame).is_some() {
            recur_back(sets, shape, dgates, weights, &mut dstate);
        }
    }
    // States before each frame, beside the gradients of the gates that they went into.
    let mut states_before = Buffer::<f32>::take(len * shape.frames);
    for (frame, to) in states_before.chunks_exact_mut(len).enumerate() {
        match shape.before(frame) {
            Some(before) => to.copy_from_slice(&memory.states[len * before..][..len]),
            None => to.fill(0.0),
        }
    }
    let product = shape.product(shape.batch * shape.frames);
    conv::backward_weights(sets, &product, &states_before, &dgates, dweights);
}

/// Gates that a task computes.
const GATES_A_TASK: usize = 64;
/// Clips whose sums are in registers together, where there are several.
const CLIPS: usize = 4;
/// Gates whose sums are.
const ROWS: usize = 4;
/// Vectors of a state that are.
const STRIP: usize = 4;

/// What the states give to the gates: `gates = states . weights^T`. Not as a convolution, which would bring
/// the weights into the order of its tiles for a handful of rows.
fn recur(sets: Sets, shape: &LstmShape, states: &[f32], weights: &[f32], gates: &mut [f32]) {
    let to = Shared::new(gates);
    let num_gates = 4 * shape.width;
    for_each_task(num_gates.div_ceil(GATES_A_TASK), |task| {
        let first = task * GATES_A_TASK;
        let job = Recur {
            shape,
            gates: first..num_gates.min(first + GATES_A_TASK),
            states,
            weights,
            to: to.get(),
        };
        // SAFETY: the set is available; these gates of every clip are this task's.
        unsafe { sets.isa.run(job) };
    });
}

struct Recur<'a> {
    shape: &'a LstmShape,
    gates: Range<usize>,
    /// `[b, width]`.
    states: &'a [f32],
    weights: &'a [f32],
    /// `[b, 4 * width]`.
    to: *mut f32,
}

impl Job for Recur<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let batch = self.shape.batch;
        for gate in self.gates.clone().step_by(ROWS) {
            // Gates and clips that are not there are the last one again.
            let gates = std::array::from_fn(|i| (gate + i).min(self.gates.end - 1));
            // SAFETY: passed on to the caller; gates and clips are inside their matrices.
            unsafe {
                if batch == 1 {
                    self.products::<V, 1>(gates, [0]);
                    continue;
                }
                for first in (0..batch).step_by(CLIPS) {
                    let clips = std::array::from_fn(|i| (first + i).min(batch - 1));
                    self.products::<V, CLIPS>(gates, clips);
                }
            }
        }
    }
}

impl Recur<'_> {
    /// Some gates of some clips.
    ///
    /// # Safety
    /// The machine has the instructions of `V`; the gates of these clips are nobody else's.
    #[inline(always)]
    unsafe fn products<V: Vector, const C: usize>(&self, gates: [usize; ROWS], clips: [usize; C]) {
        let width = self.shape.width;
        let rows = gates.map(|gate| self.weights[gate * width..][..width].as_ptr());
        let states = clips.map(|clip| self.states[clip * width..][..width].as_ptr());
        // SAFETY: `len` elements of each row and of each state; the gate of each clip.
        unsafe {
            let mut sums = [[V::splat(0.0); C]; ROWS];
            for at in (0..width).step_by(V::LANES) {
                let len = V::LANES.min(width - at);
                // A loop, not `map`: what that calls is compiled without the instruction set.
                let mut lanes = [V::splat(0.0); C];
                for (lanes, state) in lanes.iter_mut().zip(states) {
                    *lanes = f32::load_part(state.add(at), len);
                }
                for (sums, row) in sums.iter_mut().zip(rows) {
                    let weights: V = f32::load_part(row.add(at), len);
                    for (sum, lanes) in sums.iter_mut().zip(lanes) {
                        *sum = weights.mul_add(lanes, *sum);
                    }
                }
            }
            for (sums, gate) in sums.into_iter().zip(gates) {
                for (sum, clip) in sums.into_iter().zip(clips) {
                    *self.to.add(clip * 4 * width + gate) = sum_of_lanes(sum);
                }
            }
        }
    }
}

/// The lanes of a vector added up, half to half.
///
/// # Safety
/// The machine has the instructions of `V`.
#[inline(always)]
unsafe fn sum_of_lanes<V: Vector>(vector: V) -> f32 {
    let mut lanes = [0.0f32; MAX_LANES];
    // SAFETY: there are as many lanes as any vector has.
    unsafe { vector.store(lanes.as_mut_ptr()) };
    let mut half = MAX_LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// Gradient of the states before: `dstates = dgates . weights`.
fn recur_back(sets: Sets, shape: &LstmShape, dgates: &[f32], weights: &[f32], dstates: &mut [f32]) {
    let to = Shared::new(dstates);
    let each = STRIP * MAX_LANES;
    for_each_task(shape.width.div_ceil(each), |task| {
        let job = RecurBack {
            shape,
            columns: task * each..shape.width.min((task + 1) * each),
            dgates,
            weights,
            to: to.get(),
        };
        // SAFETY: the set is available; these columns of every clip are this task's.
        unsafe { sets.isa.run(job) };
    });
}

struct RecurBack<'a> {
    shape: &'a LstmShape,
    columns: Range<usize>,
    /// `[b, 4 * width]`.
    dgates: &'a [f32],
    weights: &'a [f32],
    /// `[b, width]`.
    to: *mut f32,
}

impl Job for RecurBack<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let (width, batch) = (self.shape.width, self.shape.batch);
        for at in self.columns.clone().step_by(V::LANES) {
            let len = V::LANES.min(self.columns.end - at);
            for first in (0..batch).step_by(CLIPS) {
                let clips: [usize; CLIPS] = std::array::from_fn(|i| (first + i).min(batch - 1));
                // SAFETY: the machine has the instructions of `V`.
                let mut sums = [unsafe { V::splat(0.0) }; CLIPS];
                for gate in 0..4 * width {
                    // SAFETY: `len` elements of the row.
                    let weights: V = unsafe {
                        f32::load_part(self.weights.as_ptr().add(gate * width + at), len)
                    };
                    for (sum, clip) in sums.iter_mut().zip(clips) {
                        let gradient = self.dgates[clip * 4 * width + gate];
                        // SAFETY: the machine has the instructions of `V`.
                        *sum = unsafe { weights.mul_add(V::splat(gradient), *sum) };
                    }
                }
                for (sum, clip) in sums.into_iter().zip(clips) {
                    // SAFETY: `len` elements of the clip's columns.
                    unsafe { f32::store_part(sum, self.to.add(clip * width + at), len) };
                }
            }
        }
    }
}

/// One frame of one clip: `width` cells; gates are four times as many, and become their activations.
struct Cell<'a> {
    gates: &'a mut [f32],
    cell_before: &'a [f32],
    cell: &'a mut [f32],
    state: &'a mut [f32],
}

impl Job for Cell<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let width = self.cell.len();
        for at in (0..width).step_by(V::LANES) {
            let len = V::LANES.min(width - at);
            // SAFETY: `len` elements of each quarter of the gates and of the cells.
            unsafe {
                let gate = |idx: usize| self.gates.as_ptr().add(idx * width + at);
                let input = sigmoid(f32::load_part::<V>(gate(0), len));
                let forget = sigmoid(f32::load_part::<V>(gate(1), len));
                let candidate = tanh(f32::load_part::<V>(gate(2), len));
                let output = sigmoid(f32::load_part::<V>(gate(3), len));
                let before = f32::load_part::<V>(self.cell_before.as_ptr().add(at), len);
                let cell = forget.mul_add(before, input.mul(candidate));
                let gates = self.gates.as_mut_ptr();
                for (idx, value) in [input, forget, candidate, output].into_iter().enumerate() {
                    f32::store_part(value, gates.add(idx * width + at), len);
                }
                f32::store_part(cell, self.cell.as_mut_ptr().add(at), len);
                f32::store_part(output.mul(tanh(cell)), self.state.as_mut_ptr().add(at), len);
            }
        }
    }
}

/// The gradients of one frame of one clip. `dcell` is that of the cell by way of the next frame, and becomes
/// that of the cell before.
struct CellGradient<'a> {
    gates: &'a [f32],
    cell: &'a [f32],
    cell_before: &'a [f32],
    dstate: &'a [f32],
    dcell: &'a mut [f32],
    dgates: &'a mut [f32],
}

impl Job for CellGradient<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let width = self.cell.len();
        for at in (0..width).step_by(V::LANES) {
            let len = V::LANES.min(width - at);
            // SAFETY: `len` elements of each quarter of the gates and of all others.
            unsafe {
                let one = V::splat(1.0);
                let load = |from: *const f32| f32::load_part::<V>(from.add(at), len);
                let gate = |idx: usize| load(self.gates.as_ptr().add(idx * width));
                let [input, forget, candidate, output] = [gate(0), gate(1), gate(2), gate(3)];
                let dstate = load(self.dstate.as_ptr());
                let squashed = tanh(load(self.cell.as_ptr()));
                let slope = one.sub(squashed.mul(squashed));
                let dcell = dstate.mul(output).mul_add(slope, load(self.dcell.as_ptr()));
                let of_sigmoid = |value: V, gradient: V| gradient.mul(value).mul(one.sub(value));
                let gradients = [
                    of_sigmoid(input, dcell.mul(candidate)),
                    of_sigmoid(forget, dcell.mul(load(self.cell_before.as_ptr()))),
                    dcell.mul(input).mul(one.sub(candidate.mul(candidate))),
                    of_sigmoid(output, dstate.mul(squashed)),
                ];
                for (idx, value) in gradients.into_iter().enumerate() {
                    f32::store_part(value, self.dgates.as_mut_ptr().add(idx * width + at), len);
                }
                f32::store_part(dcell.mul(forget), self.dcell.as_mut_ptr().add(at), len);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::reference::noise;
    use super::*;

    /// States in `f64`, by the formulas.
    fn reference(shape: &LstmShape, inputs: &[f64], weights: &[f64]) -> Vec<f64> {
        let (n, frames) = (shape.width, shape.frames);
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let mut states = vec![0.0; shape.batch * frames * n];
        for clip in 0..shape.batch {
            let (mut state, mut cell) = (vec![0.0; n], vec![0.0; n]);
            for frame in shape.frames_in_order() {
                let gate = |idx: usize| {
                    let own = inputs[(clip * frames + frame) * 4 * n + idx];
                    own + (0..n).map(|j| weights[idx * n + j] * state[j]).sum::<f64>()
                };
                let gates: Vec<f64> = (0..4 * n).map(gate).collect();
                for j in 0..n {
                    cell[j] = sigmoid(gates[n + j]) * cell[j]
                        + sigmoid(gates[j]) * gates[2 * n + j].tanh();
                }
                for j in 0..n {
                    state[j] = sigmoid(gates[3 * n + j]) * cell[j].tanh();
                    states[(clip * frames + frame) * n + j] = state[j];
                }
            }
        }
        states
    }

    #[test]
    fn states_and_gradients_agree_with_the_formulas() {
        for (batch, frames, width) in [(1, 1, 1), (2, 3, 5), (3, 4, 16), (2, 5, 19)] {
            for order in [TimeOrder::Forward, TimeOrder::Backward] {
                check(&LstmShape {
                    batch,
                    frames,
                    width,
                    order,
                });
            }
        }
    }

    fn check(shape: &LstmShape) {
        let len = shape.state_len() * shape.frames;
        let data = [noise(4 * len, 1), noise(4 * shape.width * shape.width, 2)];
        let wide = data
            .each_ref()
            .map(|v| v.iter().map(|v| 2.0 * f64::from(*v)).collect::<Vec<f64>>());
        let data = wide
            .each_ref()
            .map(|v| v.iter().map(|v| *v as f32).collect::<Vec<f32>>());
        let dstates = noise(len, 3);
        let loss = |inputs: &[f64], weights: &[f64]| {
            let states = reference(shape, inputs, weights);
            states
                .iter()
                .zip(&dstates)
                .map(|(y, dy)| y * f64::from(*dy))
                .sum::<f64>()
        };
        let want = reference(shape, &wide[0], &wide[1]);
        for isa in super::super::Isa::available() {
            let sets = Sets::of(isa);
            let fresh = |len: usize| vec![f32::NAN; len];
            let mut states = fresh(len);
            let memory = forward(sets, shape, &data[0], &data[1]);
            memory.states_to(shape, &mut states, shape.width, 0);
            for (got, want) in states.iter().zip(&want) {
                assert!(
                    (f64::from(*got) - want).abs() < 2e-6,
                    "{isa:?} {shape:?}: {got}, not {want}"
                );
            }
            let mut gradients = data.each_ref().map(|v| fresh(v.len()));
            let [dinputs, dweights] = &mut gradients;
            let rows = Rows {
                data: &dstates,
                pitch: shape.width,
                offset: 0,
            };
            backward(sets, shape, &data[1], &memory, rows, dinputs, dweights);
            for which in 0..2 {
                for at in (0..data[which].len()).step_by(data[which].len() / 9 + 1) {
                    let shifted = |by: f64| {
                        let mut moved = wide.clone();
                        moved[which][at] += by;
                        loss(&moved[0], &moved[1])
                    };
                    let want = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
                    let got = f64::from(gradients[which][at]);
                    assert!(
                        (got - want).abs() < 2e-5,
                        "{isa:?} {shape:?} {which} {at}: {got}, not {want}"
                    );
                }
            }
        }
    }
}
