//! Why a clip could not be turned into model input.

/// Why a transform's configuration or input was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting that cannot work, or that has no effect beside the others.
    #[error("{key}: {problem}")]
    Config {
        /// Name of the setting, as written in a recipe.
        key: &'static str,
        /// What is wrong, what was expected and what to do.
        problem: String,
    },
    /// A clip of temperatures, and no window that turns them into light.
    #[error(
        "the clip holds 32-bit floats (temperatures in °C), and preprocess.temperature is not set: \
         give the window that becomes 0 to 255, for example temperature = [5.0, 45.0]"
    )]
    NoTemperature,
    /// A clip of light for a model of temperatures.
    #[error(
        "preprocess.temperature is set, so clips must hold temperatures in °C (32-bit floats), \
         but this one holds 8-bit pixels: remove the setting, or give the recording itself"
    )]
    NotTemperature,
    /// A clip with a number of channels that is neither grey nor colour.
    #[error("the clip has {found} channels, expected {expected}")]
    Channels {
        /// Channels of the clip.
        found: usize,
        /// What this kind of clip may have.
        expected: &'static str,
    },
    /// A clip without a frame or without a pixel.
    #[error("the clip is empty: its dimensions are {dims:?} (frames, height, width, channels)")]
    Empty {
        /// `[t, h, w, c]`.
        dims: [usize; 4],
    },
}

impl Error {
    pub(crate) fn config(key: &'static str, problem: impl Into<String>) -> Self {
        Self::Config {
            key,
            problem: problem.into(),
        }
    }
}
