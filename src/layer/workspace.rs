//! Workspaces and what they can spend.

use super::ids::WorkspaceId;
use super::units::CreativeUnits;

/// One workspace with its Creative Units (Layer REST reference, list and get workspace).
#[derive(Clone, Debug, PartialEq)]
pub struct Workspace {
    /// Its id.
    pub id: WorkspaceId,
    /// The name as the app shows it.
    pub name: String,
    /// The name as the app's addresses have it.
    pub slug: String,
    /// All it holds, before reservations.
    pub balance: CreativeUnits,
    /// What running generations hold back.
    pub reserved: CreativeUnits,
    /// What is left to spend; can be negative.
    pub available: CreativeUnits,
    /// True where Layer lets the balance go below zero; `None` where it does not say.
    pub allow_negative_balance: Option<bool>,
}
