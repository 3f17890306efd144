//! TLS for outgoing calls: rustls with ring, certificates always verified.

use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier, crypto::ring};
use rustls_platform_verifier::BuilderVerifierExt;
use std::sync::Arc;

/// Certificates are checked against these roots alone.
#[cfg(test)]
pub(super) fn trusting(roots: RootCertStore) -> ClientConfig {
    builder().with_root_certificates(roots).with_no_client_auth()
}

fn builder() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default protocol versions")
}

/// The system's roots, so that an operator's own authority is known; a slim image without any gets Mozilla's.
pub(super) fn config() -> ClientConfig {
    match builder().with_platform_verifier() {
        Ok(config) => config.with_no_client_auth(),
        Err(error) => {
            tracing::info!(error = %error, "no roots of trust on this system, using those compiled in");
            let roots = RootCertStore {
                roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
            };
            builder().with_root_certificates(roots).with_no_client_auth()
        }
    }
}
