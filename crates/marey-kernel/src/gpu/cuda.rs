//! Work of our own on CubeCL's CUDA streams.

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{LazyLock, Mutex, PoisonError};

use burn_std::backtrace::BackTrace;
use burn_std::id::StreamId;
use cubecl::client::Client;
use cubecl::cuda::CudaRuntime;
use cubecl::device::DeviceId;
use cubecl::device_handle::{CallResultExt, DeviceHandle};
use cubecl::server::{Handle, Server, ServerError};
use cubecl_server::runtime::Runtime;
use cubecl_server::server::ServerStorage;
use cubecl_server::stream::{ExecuteScope, WriteScoped};
use cudarc::driver::sys::CUstream;

type CudaServer = <CudaRuntime as Runtime>::Server;

/// The stream that work goes to, and the addresses of its buffers in device memory. Only valid on the device's thread.
pub(super) struct Launch<'a> {
    /// Where CubeCL puts the caller's work.
    pub(super) stream: CUstream,
    /// One for each handle that was given, in their order.
    pub(super) buffers: &'a [*mut c_void],
}

/// Queues `task` behind what CubeCL was given before, on the device's thread. `buffers` are read, but for the last
/// `written` of them, which it writes. If it fails, whoever reads those is told why.
pub(super) fn enqueue(
    client: &Client,
    buffers: Vec<Handle>,
    written: usize,
    task: impl FnOnce(Launch<'_>) -> Result<(), String> + Send + 'static,
) {
    let bindings: Vec<_> = buffers.into_iter().map(Handle::binding).collect();
    assert!(
        bindings
            .iter()
            .all(|binding| binding.service == client.service_id()),
        "tensors of one operation lie on different devices"
    );
    device(client).submit(move |server| {
        let stream_id = StreamId::current();
        let claimed = bindings[bindings.len() - written..].to_vec();
        // Before the scope claims what is written: a claimed buffer has no address.
        let resources: Result<Vec<_>, _> = bindings
            .iter()
            .map(|binding| server.get_resource(binding.clone(), stream_id))
            .collect();
        ExecuteScope::over(server, stream_id, claimed).execute(|server| {
            let resources = resources?;
            let buffers: Vec<_> = resources
                .iter()
                .map(|resource| resource.resource().ptr as *mut c_void)
                .collect();
            // Until these are dropped, other streams keep the memory that this one reads.
            let mut streams = server.write_streams().resolve(stream_id, bindings.iter())?;
            let stream = streams.current().sys;
            let done = task(Launch {
                stream,
                buffers: &buffers,
            });
            drop(streams);
            done.map_err(failed)
        });
    });
}

/// Runs `task` on the device's thread, with its CUDA context and the caller's stream, and waits for what it returns.
pub(super) fn on_device<R: Send>(
    client: &Client,
    task: impl FnOnce(CUstream) -> Result<R, String> + Send,
) -> Result<R, String> {
    let answer = device(client).submit_blocking(|server| {
        let stream_id = StreamId::current();
        // The call makes the device's context current, as does asking for a buffer.
        let stream = server
            .flush(stream_id)
            .and_then(|()| stream(server, stream_id));
        task(stream.map_err(|error| error.to_string())?)
    });
    answer.unwrap_or_resume()
}

fn stream(server: &mut CudaServer, stream_id: StreamId) -> Result<CUstream, ServerError> {
    let mut streams = server.write_streams().resolve(stream_id, [].iter())?;
    Ok(streams.current().sys)
}

fn failed(reason: String) -> ServerError {
    ServerError::Generic {
        reason,
        backtrace: BackTrace::capture(),
    }
}

/// The thread of a client's device. Finding one takes a lock and an allocation, so each is found once.
fn device(client: &Client) -> DeviceHandle<CudaServer> {
    static DEVICES: LazyLock<Mutex<HashMap<DeviceId, DeviceHandle<CudaServer>>>> =
        LazyLock::new(Mutex::default);
    let id = client.service_id().device;
    let mut devices = DEVICES.lock().unwrap_or_else(PoisonError::into_inner);
    devices
        .entry(id)
        .or_insert_with(|| DeviceHandle::new(id))
        .clone()
}
