//! Weather, as it looks through a camera: rain, fog, shadows, snow.
//!
//! Lengths are in pixels of the model's input. Each is drawn once a clip; of what is drawn only rain moves with time.

mod fog;

mod rain;

mod shadow;

mod snow;

pub use fog::Fog;
pub(crate) use fog::FogLayer;
pub use rain::Rain;
pub(crate) use rain::RainFall;
pub use shadow::Shadow;
pub(crate) use shadow::ShadowMask;
pub use snow::Snow;
pub(crate) use snow::SnowTable;
