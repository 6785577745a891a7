//! The objects of cuDNN's backend interface: made, given attributes, finalised, never changed again.

use std::ffi::{CStr, c_void};
use std::ptr::null_mut;

use cudarc::cudnn::sys::{
    self, cudnnBackendAttributeName_t as Name, cudnnBackendAttributeType_t as Type,
    cudnnBackendDescriptor_t, cudnnBackendDescriptorType_t as Kind, cudnnBackendHeurMode_t,
    cudnnConvolutionMode_t, cudnnDataType_t, cudnnHandle_t, cudnnStatus_t,
};

/// A value that an attribute can have.
///
/// # Safety
/// `TYPE` must be cuDNN's name for the memory layout of the type.
pub(super) unsafe trait Attribute {
    const TYPE: Type;
}

/// A buffer on the device.
#[repr(transparent)]
pub(super) struct Buffer(pub(super) *mut c_void);

/// What is known of how an engine computes. The library has more of them than its bindings know.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct NumericalNote(pub(super) u32);

/// Points to another descriptor, which must outlive the use of the value.
#[repr(transparent)]
pub(super) struct Reference(cudnnBackendDescriptor_t);

macro_rules! attributes {
    ($($value:ty => $name:ident),* $(,)?) => {
        // SAFETY: cuDNN's documentation of cudnnBackendAttributeType_t pairs these.
        $(unsafe impl Attribute for $value { const TYPE: Type = Type::$name; })*
    };
}
attributes! {
    i64 => CUDNN_TYPE_INT64,
    f32 => CUDNN_TYPE_FLOAT,
    Buffer => CUDNN_TYPE_VOID_PTR,
    Reference => CUDNN_TYPE_BACKEND_DESCRIPTOR,
    cudnnHandle_t => CUDNN_TYPE_HANDLE,
    cudnnDataType_t => CUDNN_TYPE_DATA_TYPE,
    cudnnConvolutionMode_t => CUDNN_TYPE_CONVOLUTION_MODE,
    cudnnBackendHeurMode_t => CUDNN_TYPE_HEUR_MODE,
    NumericalNote => CUDNN_TYPE_NUMERICAL_NOTE,
}

/// An object of the backend interface.
pub(super) struct Descriptor(cudnnBackendDescriptor_t);

// SAFETY: a descriptor belongs to no thread; the handle that uses it does.
unsafe impl Send for Descriptor {}
// SAFETY: once finalised it is only read.
unsafe impl Sync for Descriptor {}

impl Descriptor {
    pub(super) fn new(kind: Kind) -> Result<Self, String> {
        let mut descriptor = null_mut();
        // SAFETY: the call writes a descriptor where it succeeds.
        let status = unsafe { sys::cudnnBackendCreateDescriptor(kind, &raw mut descriptor) };
        check(status, || format!("making {kind:?}"))?;
        Ok(Self(descriptor))
    }

    /// With another attribute.
    pub(super) fn with<T: Attribute>(self, name: Name, values: &[T]) -> Result<Self, String> {
        // SAFETY: `values` holds that many elements of the type that `T` says.
        let status = unsafe {
            sys::cudnnBackendSetAttribute(
                self.0,
                name,
                T::TYPE,
                values.len() as i64,
                values.as_ptr().cast(),
            )
        };
        check(status, || format!("setting {name:?}"))?;
        Ok(self)
    }

    /// Complete: cuDNN checks it.
    pub(super) fn finalized(self) -> Result<Self, String> {
        // SAFETY: the descriptor lives.
        let status = unsafe { sys::cudnnBackendFinalize(self.0) };
        check(status, || "finalising a descriptor".to_owned())?;
        Ok(self)
    }

    /// Up to `values.len()` values of an attribute: how many there are of them.
    pub(super) fn read<T: Attribute>(&self, name: Name, values: &mut [T]) -> Result<usize, String> {
        let mut count = 0;
        // SAFETY: there is room for that many elements of the type that `T` says.
        let status = unsafe {
            sys::cudnnBackendGetAttribute(
                self.0,
                name,
                T::TYPE,
                values.len() as i64,
                &raw mut count,
                values.as_mut_ptr().cast(),
            )
        };
        check(status, || format!("reading {name:?}"))?;
        Ok((count as usize).min(values.len()))
    }

    /// Fills `others` with the descriptors that an attribute has: how many there are of them.
    pub(super) fn read_into(&self, name: Name, others: &[Self]) -> Result<usize, String> {
        let mut references: Vec<_> = others.iter().map(Self::reference).collect();
        self.read(name, &mut references)
    }

    pub(super) fn reference(&self) -> Reference {
        Reference(self.0)
    }

    pub(super) fn as_ptr(&self) -> cudnnBackendDescriptor_t {
        self.0
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: made by `new`, and nothing refers to it any more. There is no way to report a failure.
        unsafe { sys::cudnnBackendDestroyDescriptor(self.0) };
    }
}

/// An error in words where a call did not succeed.
pub(super) fn check(status: cudnnStatus_t, doing: impl FnOnce() -> String) -> Result<(), String> {
    if status == cudnnStatus_t::CUDNN_STATUS_SUCCESS {
        return Ok(());
    }
    let mut message = [0; 256];
    // SAFETY: the buffer is as long as it says; the text in it ends with a zero.
    let message = unsafe {
        sys::cudnnGetLastErrorString(message.as_mut_ptr(), message.len());
        message[message.len() - 1] = 0;
        CStr::from_ptr(message.as_ptr()).to_string_lossy()
    };
    Err(format!("cuDNN, {}: {status:?} ({message})", doing()))
}
