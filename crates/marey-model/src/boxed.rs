//! A module on the heap.

use std::{fmt, ops::Deref};

use burn::{
    module::{
        Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
    },
    tensor::Device,
};

/// A module on the heap, with the names it has without.
///
/// Burn's modules are moved by value whenever they are mapped, and a choice among many is as large as its largest: without
/// this a thread of the usual stack overflows.
#[derive(Clone, Debug)]
pub(crate) struct Boxed<M>(Box<M>);

impl<M> Boxed<M> {
    pub(crate) fn new(module: M) -> Self {
        Self(Box::new(module))
    }
}

impl<M> Deref for Boxed<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.0
    }
}

impl<M: Module> Module for Boxed<M> {
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        self.0.visit(visitor);
    }

    fn map<F: ModuleMapper>(self, mapper: &mut F) -> Self {
        Self::new(self.0.map(mapper))
    }

    fn to_device(self, device: &Device) -> Self {
        Self::new(self.0.to_device(device))
    }

    fn fork(self, device: &Device) -> Self {
        Self::new(self.0.fork(device))
    }

    fn collect_devices(&self, devices: Devices) -> Devices {
        self.0.collect_devices(devices)
    }

    fn materialize(self) -> Self {
        Self::new(self.0.materialize())
    }

    fn valid(&self) -> Self {
        Self::new(self.0.valid())
    }

    fn train(self) -> Self {
        Self::new(self.0.train())
    }
}

impl<M: ModuleDisplayDefault> ModuleDisplayDefault for Boxed<M> {
    fn content(&self, content: Content) -> Option<Content> {
        self.0.content(content)
    }
}

impl<M: ModuleDisplay> ModuleDisplay for Boxed<M> {}

impl<M: fmt::Display> fmt::Display for Boxed<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
