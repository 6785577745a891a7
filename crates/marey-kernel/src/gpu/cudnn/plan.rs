//! One convolution as cuDNN sees it, and the engine that computes it.

use std::ffi::c_void;

use cudarc::cudnn::sys::{
    cudnnBackendAttributeName_t as Name, cudnnBackendDescriptorType_t as Kind, cudnnBackendExecute,
    cudnnBackendHeurMode_t as Heuristic, cudnnBackendNumericalNote_t as Note,
    cudnnConvolutionMode_t, cudnnDataType_t, cudnnHandle_t,
};

use super::descriptor::{Buffer, Descriptor, NumericalNote, check};
use crate::raw::{Conv3dShape, SumOrder};

/// What is computed from what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Direction {
    /// y from x and the weights.
    Forward,
    /// dx from dy and the weights.
    BackwardData,
    /// dw from x and dy.
    BackwardWeights,
}

/// Identifiers of x, the weights and y in a plan, in the order in which [`Plan::run`] takes them.
const IDS: [i64; 3] = [1, 2, 3];

/// Engines that are asked for; the first that can be used is taken.
const CANDIDATES: usize = 16;

/// The bytes that a run may need beside its tensors.
const MOST_WORKSPACE: usize = 2 << 30;

/// A convolution that is ready to run.
pub(super) struct Plan {
    plan: Descriptor,
    /// What the plan was made from. cuDNN does not say that it keeps copies, so it lives as long.
    _parts: Vec<Descriptor>,
    /// Bytes that a run needs beside its tensors.
    pub(super) workspace: usize,
}

impl Plan {
    /// The first engine of cuDNN's heuristics that can compute it; where the order of sums is fixed, with one that is the
    /// same in every run.
    pub(super) fn new(
        handle: cudnnHandle_t,
        direction: Direction,
        dtype: cudnnDataType_t,
        shape: &Conv3dShape,
        order: SumOrder,
    ) -> Result<Self, String> {
        let mut parts = Geometry::of(shape).graph(handle, direction, dtype)?;
        let mut why = "cuDNN named no engine".to_owned();
        for mode in [
            Heuristic::CUDNN_HEUR_MODE_A,
            Heuristic::CUDNN_HEUR_MODE_FALLBACK,
        ] {
            let named = engines(&parts[0], mode).unwrap_or_else(|reason| {
                why = reason;
                Vec::new()
            });
            for engine in named {
                match plan_of(handle, &engine, order) {
                    Ok((plan, workspace)) if workspace <= MOST_WORKSPACE => {
                        parts.push(engine);
                        return Ok(Self {
                            plan,
                            _parts: parts,
                            workspace,
                        });
                    }
                    Ok((_, workspace)) => why = format!("an engine wants {workspace} bytes"),
                    Err(reason) => why = reason,
                }
            }
        }
        Err(format!("{direction:?} {shape:?} cannot be computed: {why}"))
    }

    /// Queues it on the handle's stream.
    ///
    /// # Safety
    /// The buffers must be those of x, the weights and y in the type and the sizes that the plan was made for, and the
    /// workspace's, all on the handle's device and alive until the stream has passed.
    pub(super) unsafe fn run(
        &self,
        handle: cudnnHandle_t,
        [x, weights, y]: [*mut c_void; 3],
        workspace: *mut c_void,
    ) -> Result<(), String> {
        let pack = Descriptor::new(Kind::CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR)?
            .with(Name::CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, &IDS)?
            .with(
                Name::CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS,
                &[Buffer(x), Buffer(weights), Buffer(y)],
            )?
            .with(
                Name::CUDNN_ATTR_VARIANT_PACK_WORKSPACE,
                &[Buffer(workspace)],
            )?
            .finalized()?;
        // SAFETY: the caller's promise.
        let status = unsafe { cudnnBackendExecute(handle, self.plan.as_ptr(), pack.as_ptr()) };
        check(status, || "running a convolution".to_owned())
    }
}

/// A plan that runs on an engine, and the bytes that it needs beside its tensors.
fn plan_of(
    handle: cudnnHandle_t,
    engine: &Descriptor,
    order: SumOrder,
) -> Result<(Descriptor, usize), String> {
    if order == SumOrder::Fixed && !is_deterministic(engine)? {
        return Err("its sums have no fixed order".to_owned());
    }
    let plan = Descriptor::new(Kind::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR)?
        .with(Name::CUDNN_ATTR_EXECUTION_PLAN_HANDLE, &[handle])?
        .with(
            Name::CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG,
            &[engine.reference()],
        )?
        .finalized()?;
    let mut workspace = [0i64];
    plan.read(
        Name::CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
        &mut workspace,
    )?;
    Ok((plan, workspace[0] as usize))
}

/// The engines that a heuristic names, best first.
fn engines(graph: &Descriptor, mode: Heuristic) -> Result<Vec<Descriptor>, String> {
    let heuristic = Descriptor::new(Kind::CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR)?
        .with(
            Name::CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH,
            &[graph.reference()],
        )?
        .with(Name::CUDNN_ATTR_ENGINEHEUR_MODE, &[mode])?
        .finalized()?;
    let mut engines = (0..CANDIDATES)
        .map(|_| Descriptor::new(Kind::CUDNN_BACKEND_ENGINECFG_DESCRIPTOR))
        .collect::<Result<Vec<_>, _>>()?;
    let count = heuristic.read_into(Name::CUDNN_ATTR_ENGINEHEUR_RESULTS, &engines)?;
    engines.truncate(count);
    Ok(engines)
}

fn is_deterministic(engine: &Descriptor) -> Result<bool, String> {
    let kernel = [Descriptor::new(Kind::CUDNN_BACKEND_ENGINE_DESCRIPTOR)?];
    engine.read_into(Name::CUDNN_ATTR_ENGINECFG_ENGINE, &kernel)?;
    let mut notes = [NumericalNote(u32::MAX); Note::CUDNN_NUMERICAL_NOTE_TYPE_COUNT as usize];
    let count = kernel[0].read(Name::CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, &mut notes)?;
    let free = NumericalNote(Note::CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC as u32);
    Ok(!notes[..count].contains(&free))
}

/// A convolution over as few axes as it needs: images instead of clips where the kernel has one frame, and columns of
/// frames where it has one pixel.
struct Geometry {
    batch: usize,
    /// Channels of x, of y, and those of x that each of y sees.
    channels: [usize; 3],
    x: Vec<usize>,
    y: Vec<usize>,
    kernel: Vec<usize>,
    stride: Vec<usize>,
    padding: Vec<usize>,
    dilation: Vec<usize>,
}

impl Geometry {
    fn of(shape: &Conv3dShape) -> Self {
        let options = &shape.options;
        let (x, y) = (shape.input, shape.output());
        let is_plain = |axis: usize| {
            shape.kernel[axis] == 1 && options.stride[axis] == 1 && options.padding[axis] == 0
        };
        let channels = [
            shape.in_channels,
            shape.out_channels,
            shape.in_channels / options.groups,
        ];
        let pick = |axes: &[usize], of: [usize; 3]| axes.iter().map(|&axis| of[axis]).collect();
        let over = |axes: &[usize], batch: usize| Self {
            batch,
            channels,
            x: pick(axes, x),
            y: pick(axes, y),
            kernel: pick(axes, shape.kernel),
            stride: pick(axes, options.stride),
            padding: pick(axes, options.padding),
            dilation: pick(axes, options.dilation),
        };
        if is_plain(0) {
            return over(&[1, 2], shape.batch * x[0]);
        }
        if is_plain(1) && is_plain(2) {
            let mut columns = over(&[0, 1], shape.batch);
            (columns.x[1], columns.y[1]) = (x[1] * x[2], y[1] * y[2]);
            return columns;
        }
        over(&[0, 1, 2], shape.batch)
    }

    /// The convolution as a graph of one operation; after it, what it is made of.
    fn graph(
        &self,
        handle: cudnnHandle_t,
        direction: Direction,
        dtype: cudnnDataType_t,
    ) -> Result<Vec<Descriptor>, String> {
        let [inputs, outputs, group] = self.channels;
        let x = tensor(IDS[0], dtype, self.batch, inputs, &self.x)?;
        let weights = tensor(IDS[1], dtype, outputs, group, &self.kernel)?;
        let y = tensor(IDS[2], dtype, self.batch, outputs, &self.y)?;
        let convolution = self.convolution()?;
        let names = Names::of(direction);
        let operation = Descriptor::new(names.kind)?
            .with(names.alpha, &[1f32])?
            .with(names.beta, &[0f32])?
            .with(names.convolution, &[convolution.reference()])?
            .with(names.x, &[x.reference()])?
            .with(names.weights, &[weights.reference()])?
            .with(names.y, &[y.reference()])?
            .finalized()?;
        let graph = Descriptor::new(Kind::CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR)?
            .with(Name::CUDNN_ATTR_OPERATIONGRAPH_HANDLE, &[handle])?
            .with(
                Name::CUDNN_ATTR_OPERATIONGRAPH_OPS,
                &[operation.reference()],
            )?
            .finalized()?;
        Ok(vec![graph, operation, convolution, x, weights, y])
    }

    fn convolution(&self) -> Result<Descriptor, String> {
        let values = |of: &[usize]| -> Vec<i64> { of.iter().map(|&value| value as i64).collect() };
        Descriptor::new(Kind::CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR)?
            .with(
                Name::CUDNN_ATTR_CONVOLUTION_COMP_TYPE,
                &[cudnnDataType_t::CUDNN_DATA_FLOAT],
            )?
            .with(
                Name::CUDNN_ATTR_CONVOLUTION_CONV_MODE,
                &[cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION],
            )?
            .with(
                Name::CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS,
                &[self.kernel.len() as i64],
            )?
            .with(
                Name::CUDNN_ATTR_CONVOLUTION_DILATIONS,
                &values(&self.dilation),
            )?
            .with(
                Name::CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES,
                &values(&self.stride),
            )?
            .with(
                Name::CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS,
                &values(&self.padding),
            )?
            .with(
                Name::CUDNN_ATTR_CONVOLUTION_POST_PADDINGS,
                &values(&self.padding),
            )?
            .finalized()
    }
}

/// What the attributes of each direction's operation are called.
struct Names {
    kind: Kind,
    alpha: Name,
    beta: Name,
    convolution: Name,
    x: Name,
    weights: Name,
    y: Name,
}

impl Names {
    fn of(direction: Direction) -> Self {
        match direction {
            Direction::Forward => Self {
                kind: Kind::CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                alpha: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                beta: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA,
                convolution: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                x: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                weights: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                y: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
            },
            Direction::BackwardData => Self {
                kind: Kind::CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                alpha: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                beta: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA,
                convolution: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                x: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                weights: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                y: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
            },
            Direction::BackwardWeights => Self {
                kind: Kind::CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                alpha: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                beta: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA,
                convolution: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                x: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                weights: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                y: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
            },
        }
    }
}

/// A channels-last tensor: cuDNN names channels before places, and the strides say where they lie.
fn tensor(
    id: i64,
    dtype: cudnnDataType_t,
    batch: usize,
    channels: usize,
    places: &[usize],
) -> Result<Descriptor, String> {
    let mut dims = vec![batch as i64, channels as i64];
    dims.extend(places.iter().map(|&size| size as i64));
    let mut strides = vec![1; dims.len()];
    let mut stride = channels as i64;
    for axis in (2..dims.len()).rev() {
        strides[axis] = stride;
        stride *= dims[axis];
    }
    strides[0] = stride;
    Descriptor::new(Kind::CUDNN_BACKEND_TENSOR_DESCRIPTOR)?
        .with(Name::CUDNN_ATTR_TENSOR_UNIQUE_ID, &[id])?
        .with(Name::CUDNN_ATTR_TENSOR_DATA_TYPE, &[dtype])?
        .with(Name::CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, &[16i64])?
        .with(Name::CUDNN_ATTR_TENSOR_DIMENSIONS, &dims)?
        .with(Name::CUDNN_ATTR_TENSOR_STRIDES, &strides)?
        .finalized()
}
