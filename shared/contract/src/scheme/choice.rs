//! Which scheme a sender uses, as its settings name it: a preset, or a definition of its own.

use super::{Custom, Scheme, definition::Definition};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};
use strum::{EnumIter, EnumString, IntoEnumIterator, IntoStaticStr};

/// A scheme that has a name. The definitions are `presets.json`.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    EnumIter,
    EnumString,
    IntoStaticStr,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Preset {
    /// Standard Webhooks 1.0, with HMAC-SHA256 (`v1`) and Ed25519 (`v1a`).
    #[default]
    StandardWebhooks,
    /// GitHub.
    Github,
    /// Stripe.
    Stripe,
    /// Shopify.
    Shopify,
    /// The Events API of Slack.
    Slack,
    /// LokRoom.
    Lokroom,
    /// Powalyze.
    Powalyze,
    /// A chat bot with a token of its own.
    Chatbot,
    /// A service that reports the progress of jobs.
    JobStatus,
}

/// What a sender's settings say of its scheme. In JSON a preset is its name, and a definition is an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// A preset.
    Preset(Preset),
    /// The sender's own.
    Custom(Box<Custom>),
}

/// The presets by their names, made once.
static PRESETS: LazyLock<BTreeMap<Preset, Arc<Scheme>>> = LazyLock::new(|| {
    let definitions: BTreeMap<String, Definition> =
        serde_json::from_str(include_str!("presets.json")).expect("the presets are definitions");
    let scheme = |preset: Preset| {
        let definition = &definitions[preset.name()];
        (preset, Scheme::new(Choice::Preset(preset), definition.clone()))
    };
    Preset::iter().map(scheme).collect()
});

impl Preset {
    /// Its name in settings.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::iter()
    }
}

impl Default for Choice {
    fn default() -> Self {
        Self::Preset(Preset::default())
    }
}

impl Choice {
    /// The scheme itself.
    pub fn scheme(&self) -> Arc<Scheme> {
        match self {
            Self::Preset(preset) => Arc::clone(&PRESETS[preset]),
            Self::Custom(custom) => Scheme::new(self.clone(), custom.definition()),
        }
    }

    /// What the types of foreign events begin with, without the dot.
    pub(super) fn family(&self) -> String {
        match self {
            Self::Preset(preset) => preset.name().replace('-', "_"),
            Self::Custom(_) => "custom".to_owned(),
        }
    }
}

impl Serialize for Choice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Preset(preset) => serializer.serialize_str(preset.name()),
            Self::Custom(custom) => custom.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Choice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(name) => name
                .parse()
                .map(Self::Preset)
                .map_err(|_| de::Error::custom("it is no preset's name")),
            object @ Value::Object(_) => {
                let custom: Custom = serde_json::from_value(object).map_err(de::Error::custom)?;
                Ok(Self::Custom(Box::new(custom)))
            }
            _ => Err(de::Error::custom("it must be a preset's name or an object")),
        }
    }
}
