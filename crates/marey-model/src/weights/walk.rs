//! A model as a list of named tensors, and back.

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId},
    tensor::{Tensor, TensorData},
};

use crate::Model;

/// A parameter or running statistic of a model, by its upstream name.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// What optimisers and gradients know it by.
    pub id: ParamId,
    /// Its name in PyTorch's state dict, for example `layer1.0.conv1.0.weight`.
    pub name: String,
    /// Its shape in our layout.
    pub shape: Vec<usize>,
    /// Whether it belongs to the classifier, or to another head on the same features.
    pub is_head: bool,
}

/// Whether `name` is a statistic that is not learned by gradient.
pub fn is_running_stat(name: &str) -> bool {
    [".running_mean", ".running_var", "anomaly_head.center"]
        .iter()
        .any(|end| name.ends_with(end))
}

/// The parameters and running statistics of `model`, in the order in which it uses them.
pub fn parameters(model: &Model) -> Vec<Parameter> {
    let mut heads = Ids(Vec::new());
    model.heads().visit(&mut heads);
    let mut found = Vec::new();
    visit(model, |name, tensor| {
        found.push(Parameter {
            id: tensor.id(),
            is_head: name.starts_with(model.head()) || heads.0.contains(&tensor.id()),
            name,
            shape: tensor.shape(),
        })
    });
    found
}

struct Ids(Vec<ParamId>);

impl ModuleVisitor for Ids {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push(param.id);
    }
}

/// A tensor on its device, of any number of dimensions.
pub(super) trait AnyTensor {
    fn id(&self) -> ParamId;
    fn shape(&self) -> Vec<usize>;
    fn values(&self) -> Vec<f32>;
}

impl<const D: usize> AnyTensor for Param<Tensor<D>> {
    fn id(&self) -> ParamId {
        self.id
    }

    fn shape(&self) -> Vec<usize> {
        self.lazy_shape().to_vec()
    }

    fn values(&self) -> Vec<f32> {
        self.val()
            .into_data()
            .convert::<f32>()
            .try_into_vec()
            .expect("converted to f32")
    }
}

/// Shows every tensor of `model` with its upstream name.
pub(super) fn visit(model: &Model, see: impl FnMut(String, &dyn AnyTensor)) {
    model.visit(&mut Walk {
        path: Path::default(),
        each: see,
    });
}

/// `model` with each tensor replaced by the values, of the same shape, that `give` has for its upstream name.
pub(super) fn replace(model: Model, give: impl FnMut(&str) -> Option<Vec<f32>>) -> Model {
    model.map(&mut Walk {
        path: Path::default(),
        each: give,
    })
}

struct Walk<F> {
    path: Path,
    each: F,
}

impl<F: FnMut(String, &dyn AnyTensor)> ModuleVisitor for Walk<F> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        (self.each)(self.path.upstream(), param);
    }
}

impl<F: FnMut(&str) -> Option<Vec<f32>>> ModuleMapper for Walk<F> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(values) = (self.each)(&self.path.upstream()) else {
            return param;
        };
        let (id, data) = (param.id, TensorData::new(values, param.lazy_shape()));
        let tensor = Tensor::from_data(data, &param.lazy_device());
        param.transform_for_load(tensor, id)
    }
}

/// Where a walk stands in the model.
#[derive(Default)]
pub(super) struct Path(Vec<String>);

impl Path {
    pub(super) fn enter(&mut self, name: &str, container: &str) {
        // A field of `Model` and an enum's variant have no place in upstream names; an empty part keeps enter and exit in step.
        let is_ours = self.0.is_empty() || container.starts_with("Enum:");
        self.0.push(if is_ours {
            String::new()
        } else {
            name.to_owned()
        });
    }

    pub(super) fn exit(&mut self) {
        self.0.pop();
    }

    pub(super) fn upstream(&self) -> String {
        let parts: Vec<&str> = self
            .0
            .iter()
            .map(String::as_str)
            .filter(|part| !part.is_empty())
            .collect();
        match parts.as_slice() {
            // The anomaly heads stand beside the classifier upstream.
            ["anomaly", after @ ..] => after.join("."),
            // PyTorch's LSTM has no levels: `rnn.weight_ih_l0_reverse`.
            [
                before @ ..,
                "layers",
                idx,
                direction @ ("forward" | "reverse"),
                name,
            ] => {
                let reverse = if *direction == "reverse" {
                    "_reverse"
                } else {
                    ""
                };
                format!("{}.{name}_l{idx}{reverse}", before.join("."))
            }
            // The attention's layers are a plain sequence upstream.
            [before @ .., "attention", "layers", idx, name] => {
                format!("{}.attention.{idx}.{name}", before.join("."))
            }
            parts => parts.join("."),
        }
    }
}
