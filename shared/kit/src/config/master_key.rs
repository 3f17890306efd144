//! The setting of the keys that encrypt the secrets in the tables.

use super::{ConfigError, SECRETS};
use crate::{
    key_file,
    secrets::{self, CheckError, MasterKeys},
};
use clap::Args;
use contract::Entropy;
use db::{DatabaseUrl, Db};

/// The variable.
const VARIABLE: &str = "MASTER_KEY";
/// The file in the data folder.
const FILE: &str = "master.key";

/// Why the keys of a database cannot be used: a sentence for the operator.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// There is none, or none that can be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// They are not those of this database, or it cannot be read.
    #[error(transparent)]
    Check(#[from] CheckError),
}

/// The keys that encrypt the secrets in the tables.
#[derive(Args, Clone, Debug, Default)]
pub struct MasterKeyArgs {
    /// Encrypts the secrets in the tables: the base64 of 32 bytes; several, separated by spaces, while it is replaced, of
    /// which the first encrypts. Required on MySQL; with SQLite made in the data folder when not set
    #[arg(long, env = "MASTER_KEY", hide_env_values = true, help_heading = SECRETS)]
    pub master_key: Option<MasterKeys>,
}

impl MasterKeyArgs {
    /// The keys of an open database, which are checked against what it has.
    ///
    /// # Errors
    /// As [`keys`](Self::keys), and when the secrets in it are encrypted under another key.
    pub async fn open(
        &self,
        url: &DatabaseUrl,
        db: &Db,
        entropy: &dyn Entropy,
    ) -> Result<MasterKeys, MasterKeyError> {
        // Another process that starts at once makes its key before it seals.
        let is_sealed = secrets::is_sealed(db).await?;
        let keys = self.keys(url, is_sealed, entropy)?;
        secrets::check(db, &keys, entropy).await?;
        Ok(keys)
    }

    /// Whether a service on this database has its keys, or can make one.
    ///
    /// # Errors
    /// On MySQL without the variable: replicas share no folder.
    pub fn check(&self, database: &DatabaseUrl) -> Result<(), ConfigError> {
        if self.master_key.is_none() && database.sqlite_folder().is_none() {
            return Err(ConfigError::new(VARIABLE, "it is required on MySQL, and not set"));
        }
        Ok(())
    }

    /// The keys: those of the variable, or that of the data folder. Where there is none yet one is made, unless `is_sealed` says
    /// that secrets of this database are encrypted already: a new key would open none of them, and would stand where the right
    /// one has to be put back.
    ///
    /// # Errors
    /// As [`check`](Self::check), and when the file is missing, cannot be used or holds no key.
    pub fn keys(
        &self,
        database: &DatabaseUrl,
        is_sealed: bool,
        entropy: &dyn Entropy,
    ) -> Result<MasterKeys, ConfigError> {
        self.check(database)?;
        if let Some(keys) = &self.master_key {
            return Ok(keys.clone());
        }
        let folder = database.sqlite_folder().expect("checked above");
        let unusable = |error: String| {
            let file = folder.join(FILE);
            let problem = format!(
                "it is not set, and {} is no place for it: {error}",
                file.display()
            );
            ConfigError::new(VARIABLE, problem)
        };
        let text = if is_sealed {
            key_file::find(folder, FILE)
        } else {
            key_file::read_or_make(folder, FILE, MasterKeys::spell, entropy).map(Some)
        };
        let text = text.map_err(|error| unusable(error.to_string()))?;
        let missing = || {
            let file = folder.join(FILE);
            let problem = format!(
                "it is not set, and {} is not there, but the secrets in this database are encrypted: put the file back, or set \
                 the variable to its key",
                file.display()
            );
            ConfigError::new(VARIABLE, problem)
        };
        text.ok_or_else(missing)?
            .parse()
            .map_err(|error: secrets::InvalidMasterKeys| unusable(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SystemEntropy;
    use std::fs;

    #[test]
    fn a_file_holds_the_key_of_sqlite_and_mysql_needs_the_variable() {
        let folder = tempfile::tempdir().unwrap();
        let sqlite = DatabaseUrl::sqlite(folder.path().join("crm.db"));
        let args = MasterKeyArgs::default();
        let file = folder.path().join(FILE);
        let missing = args.keys(&sqlite, true, &SystemEntropy).unwrap_err().to_string();
        assert!(missing.starts_with("MASTER_KEY: ") && !file.exists(), "{missing}");
        args.keys(&sqlite, false, &SystemEntropy).unwrap();
        let made = fs::read_to_string(&file).unwrap();
        for is_sealed in [false, true] {
            args.keys(&sqlite, is_sealed, &SystemEntropy).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), made);
        }
        fs::write(&file, "canary").unwrap();
        let said = args.keys(&sqlite, false, &SystemEntropy).unwrap_err().to_string();
        assert!(
            said.starts_with("MASTER_KEY: ") && !said.contains("canary"),
            "{said}"
        );
        let mysql = DatabaseUrl::mysql("localhost", 1, "crm", "", "crm");
        let said = args.keys(&mysql, false, &SystemEntropy).unwrap_err().to_string();
        assert_eq!(said, "MASTER_KEY: it is required on MySQL, and not set");
    }
}
