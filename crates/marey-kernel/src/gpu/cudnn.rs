//! Convolutions by NVIDIA's cuDNN, through its backend interface (cuDNN 9), channels last.
//!
//! The library is loaded when it is first needed and must be where the system looks for libraries. Marey is built
//! without it and runs without it: Burn's own convolutions then do the work.

mod descriptor;
mod plan;

use std::cell::RefCell;
use std::collections::HashMap;
use std::ptr::null_mut;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use burn::tensor::{DType, Shape};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::client::Client;
use cubecl::device::DeviceId;
use cudarc::cudnn::sys::{self, cudnnDataType_t, cudnnHandle_t};
use cudarc::driver::sys::CUstream;

use self::descriptor::check;
use self::plan::{Direction, Plan};
use super::conv::{as_type, input_dims, output_dims, weights_dims};
use super::cuda::{enqueue, on_device};
use crate::raw::{Conv3dShape, SumOrder, sum_order};

/// The oldest version whose interface this is, as the library names it.
const OLDEST: usize = 90_000;

/// Can the library be loaded, and is it new enough?
pub(super) fn is_installed() -> bool {
    // SAFETY: it loads the library, whose initialisers are trusted, and closes it again.
    static IS_INSTALLED: LazyLock<bool> =
        LazyLock::new(|| unsafe { sys::is_culib_present() && sys::cudnnGetVersion() >= OLDEST });
    *IS_INSTALLED
}

/// y of a convolution.
pub(super) fn forward(x: CubeTensor, weights: CubeTensor, shape: Conv3dShape) -> CubeTensor {
    let weights = as_type(weights, x.dtype);
    compute(Direction::Forward, shape, [x, weights])
}

/// dx of a convolution, whose weights are in the type of dy.
pub(super) fn backward_data(dy: CubeTensor, weights: CubeTensor, shape: Conv3dShape) -> CubeTensor {
    compute(Direction::BackwardData, shape, [dy, weights])
}

/// dw of a convolution, in the type of x.
pub(super) fn backward_weights(x: CubeTensor, dy: CubeTensor, shape: Conv3dShape) -> CubeTensor {
    compute(Direction::BackwardWeights, shape, [x, dy])
}

/// Queues a convolution of what its direction reads.
fn compute(direction: Direction, shape: Conv3dShape, operands: [CubeTensor; 2]) -> CubeTensor {
    let [a, b] = operands.map(into_contiguous);
    let (client, device, dtype) = (a.client.clone(), a.device.clone(), a.dtype);
    let dims = match direction {
        Direction::Forward => output_dims(&shape),
        Direction::BackwardData => input_dims(&shape),
        Direction::BackwardWeights => weights_dims(&shape),
    };
    let plan = plan(&client, direction, dtype, shape);
    let output = empty_device_contiguous_dtype(client.clone(), device, Shape::from(dims), dtype);
    let mut buffers = vec![a.handle, b.handle, output.handle.clone()];
    if plan.workspace > 0 {
        buffers.push(client.empty(plan.workspace));
    }
    let written = buffers.len() - 2;
    enqueue(&client, buffers, written, move |launch| {
        let &[a, b, output, ..] = launch.buffers else {
            unreachable!("as many addresses as buffers");
        };
        // cuDNN wants an address even where it needs no bytes.
        let workspace = launch.buffers.get(3).copied().unwrap_or(output);
        let tensors = match direction {
            Direction::Forward => [a, b, output],
            Direction::BackwardData => [output, b, a],
            Direction::BackwardWeights => [a, output, b],
        };
        with_handle(launch.stream, |handle| {
            // SAFETY: the plan was made for these tensors; CubeCL keeps memory until the stream has passed its use.
            unsafe { plan.run(handle, tensors, workspace) }
        })
    });
    output
}

/// A plan depends on these.
type Key = (DeviceId, Direction, DType, Conv3dShape, SumOrder);

/// The plan for a convolution, which is made when the first of its kind is asked for.
///
/// # Panics
/// If cuDNN cannot compute it.
fn plan(client: &Client, direction: Direction, dtype: DType, shape: Conv3dShape) -> Arc<Plan> {
    static PLANS: LazyLock<Mutex<HashMap<Key, Arc<Plan>>>> = LazyLock::new(Mutex::default);
    let order = sum_order();
    let key = (client.service_id().device, direction, dtype, shape, order);
    let plans = || PLANS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(plan) = plans().get(&key) {
        return plan.clone();
    }
    let made = on_device(client, |stream| {
        with_handle(stream, |handle| {
            Plan::new(handle, direction, data_type(dtype), &shape, order)
        })
    });
    let plan = Arc::new(made.unwrap_or_else(|reason| panic!("{reason}")));
    plans().insert(key, plan.clone());
    plan
}

fn data_type(dtype: DType) -> cudnnDataType_t {
    match dtype {
        DType::F32 => cudnnDataType_t::CUDNN_DATA_FLOAT,
        DType::F16 => cudnnDataType_t::CUDNN_DATA_HALF,
        DType::BF16 => cudnnDataType_t::CUDNN_DATA_BFLOAT16,
        other => unreachable!("convolutions of {other:?} go by Burn's own operations"),
    }
}

/// A device's connection to cuDNN.
struct Handle(cudnnHandle_t);

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: made by cudnnCreate, and its thread ends.
        unsafe { sys::cudnnDestroy(self.0) };
    }
}

/// Runs `task` with the handle of this thread, which is a device's, working on `stream`.
fn with_handle<R>(
    stream: CUstream,
    task: impl FnOnce(cudnnHandle_t) -> Result<R, String>,
) -> Result<R, String> {
    thread_local! {
        static HANDLE: RefCell<Option<Handle>> = const { RefCell::new(None) };
    }
    HANDLE.with_borrow_mut(|slot| {
        let handle = match slot {
            Some(handle) => handle.0,
            None => {
                let mut handle = null_mut();
                // SAFETY: the call writes a handle where it succeeds.
                let status = unsafe { sys::cudnnCreate(&raw mut handle) };
                check(status, || "connecting to the device".to_owned())?;
                slot.insert(Handle(handle)).0
            }
        };
        // SAFETY: both belong to this thread's device.
        let status = unsafe { sys::cudnnSetStream(handle, stream.cast()) };
        check(status, || "choosing a stream".to_owned())?;
        task(handle)
    })
}
