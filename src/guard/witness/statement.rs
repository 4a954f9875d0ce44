//! What kinds of statements there are, and which of them the witness reads.

use sqlparser::ast::{CopySource, CopyTarget, Declare, Statement};

use super::Checker;
use super::level::{Behind, Shape};
use super::names::{is, qualified};
use crate::base::Arity;

impl Checker<'_> {
    /// A statement, or one inside of another.
    pub(super) fn statement(&mut self, statement: &Statement) -> Shape {
        match statement {
            Statement::Query(query) => self.query(query),
            Statement::Insert(insert) => {
                self.only_for_one("INSERT");
                self.insert(insert)
            }
            Statement::Update(update) => {
                self.only_for_one("UPDATE");
                self.update(update)
            }
            Statement::Delete(delete) => {
                self.only_for_one("DELETE");
                self.delete(delete)
            }
            Statement::Merge(merge) => {
                self.only_for_one("MERGE");
                self.merge(merge)
            }
            Statement::Copy { source, to, target, options: _, legacy_options: _, payload: _ } => {
                self.copy(source, *to, target);
                Shape::default()
            }
            Statement::Explain {
                describe_alias: _,
                analyze: _,
                verbose: _,
                query_plan: _,
                estimate: _,
                statement,
                format: _,
                options: _,
            }
            | Statement::Prepare { name: _, data_types: _, statement } => self.statement(statement),
            Statement::Declare { stmts, separator: _ } => {
                for cursor in stmts {
                    self.cursor(cursor);
                }
                Shape::default()
            }
            Statement::Analyze(_)
            | Statement::Set(_)
            | Statement::Truncate(_)
            | Statement::Msck(_)
            | Statement::Install { .. }
            | Statement::Load { .. }
            | Statement::Directory { .. }
            | Statement::Case(_)
            | Statement::If(_)
            | Statement::While(_)
            | Statement::Raise(_)
            | Statement::Call(_)
            | Statement::CopyIntoSnowflake { .. }
            | Statement::Open(_)
            | Statement::Close { .. }
            | Statement::CreateView(_)
            | Statement::CreateTable(_)
            | Statement::CreateVirtualTable { .. }
            | Statement::CreateIndex(_)
            | Statement::CreateRole(_)
            | Statement::CreateSecret { .. }
            | Statement::CreateServer(_)
            | Statement::CreateForeignTable(_)
            | Statement::CreateForeignDataWrapper(_)
            | Statement::CreateUserMapping(_)
            | Statement::CreatePolicy(_)
            | Statement::CreateRule(_)
            | Statement::CreateConnector(_)
            | Statement::CreateOperator(_)
            | Statement::CreateOperatorFamily(_)
            | Statement::CreateOperatorClass(_)
            | Statement::CreateTextSearch(_)
            | Statement::CreateAggregate(_)
            | Statement::AlterTable(_)
            | Statement::AlterSchema(_)
            | Statement::AlterIndex { .. }
            | Statement::AlterView(_)
            | Statement::AlterFunction(_)
            | Statement::AlterType(_)
            | Statement::AlterCollation(_)
            | Statement::AlterOperator(_)
            | Statement::AlterOperatorFamily(_)
            | Statement::AlterOperatorClass(_)
            | Statement::AlterTextSearch(_)
            | Statement::AlterRole { .. }
            | Statement::AlterPolicy(_)
            | Statement::AlterTrigger(_)
            | Statement::AlterConnector { .. }
            | Statement::AlterSession { .. }
            | Statement::AttachDatabase { .. }
            | Statement::AttachDuckDBDatabase { .. }
            | Statement::DetachDuckDBDatabase { .. }
            | Statement::Drop { .. }
            | Statement::DropFunction(_)
            | Statement::DropDomain(_)
            | Statement::DropProcedure { .. }
            | Statement::DropSecret { .. }
            | Statement::DropPolicy(_)
            | Statement::DropRule(_)
            | Statement::DropConnector { .. }
            | Statement::CreateExtension(_)
            | Statement::CreateCollation(_)
            | Statement::DropExtension(_)
            | Statement::DropOperator(_)
            | Statement::DropOperatorFamily(_)
            | Statement::DropOperatorClass(_)
            | Statement::Fetch { .. }
            | Statement::Flush { .. }
            | Statement::Discard { .. }
            | Statement::ShowFunctions { .. }
            | Statement::ShowVariable { .. }
            | Statement::ShowStatus { .. }
            | Statement::ShowVariables { .. }
            | Statement::ShowCreate { .. }
            | Statement::ShowColumns { .. }
            | Statement::ShowCatalogs { .. }
            | Statement::ShowDatabases { .. }
            | Statement::ShowProcessList { .. }
            | Statement::ShowSchemas { .. }
            | Statement::ShowCharset(_)
            | Statement::ShowObjects(_)
            | Statement::ShowTables { .. }
            | Statement::ShowViews { .. }
            | Statement::ShowCollation { .. }
            | Statement::Use(_)
            | Statement::StartTransaction { .. }
            | Statement::Comment { .. }
            | Statement::Commit { .. }
            | Statement::Rollback { .. }
            | Statement::CreateSchema { .. }
            | Statement::CreateDatabase { .. }
            | Statement::CreateFunction(_)
            | Statement::CreateTrigger(_)
            | Statement::DropTrigger(_)
            | Statement::CreateProcedure { .. }
            | Statement::CreateMacro { .. }
            | Statement::CreateStage { .. }
            | Statement::CreateFileFormat { .. }
            | Statement::CreateWarehouse(_)
            | Statement::Assert { .. }
            | Statement::Grant(_)
            | Statement::GrantRole(_)
            | Statement::Deny(_)
            | Statement::Revoke(_)
            | Statement::RevokeRole(_)
            | Statement::AlterDefaultPrivileges(_)
            | Statement::Deallocate { .. }
            | Statement::Execute { .. }
            | Statement::Kill { .. }
            | Statement::ExplainTable { .. }
            | Statement::Savepoint { .. }
            | Statement::ReleaseSavepoint { .. }
            | Statement::Cache { .. }
            | Statement::UNCache { .. }
            | Statement::CreateSequence { .. }
            | Statement::CreateDomain(_)
            | Statement::CreateType { .. }
            | Statement::Pragma { .. }
            | Statement::Lock(_)
            | Statement::LockTables { .. }
            | Statement::UnlockTables
            | Statement::Unload { .. }
            | Statement::OptimizeTable { .. }
            | Statement::LoadData { .. }
            | Statement::RenameTable(_)
            | Statement::List(_)
            | Statement::Put { .. }
            | Statement::Remove(_)
            | Statement::RaisError { .. }
            | Statement::Throw(_)
            | Statement::Print(_)
            | Statement::WaitFor(_)
            | Statement::Return(_)
            | Statement::ExportData(_)
            | Statement::CreateUser(_)
            | Statement::AlterUser(_)
            | Statement::Vacuum(_)
            | Statement::Reset(_)
            | Statement::RefreshMaterializedView(_) => {
                self.unread("a statement of this kind");
                Shape::default()
            }
            // The channel is the tenant's; there is no relation in it.
            Statement::LISTEN { .. } | Statement::UNLISTEN { .. } | Statement::NOTIFY { .. } => {
                self.seen += 1;
                Shape::default()
            }
        }
    }

    /// A reader of several tenants does not write.
    pub(super) fn only_for_one(&mut self, what: &str) {
        match self.values.arity {
            Arity::One => {}
            Arity::Several => self.uncovered(|| format!("{what} of a reader")),
        }
    }

    fn cursor(&mut self, cursor: &Declare) {
        let Declare {
            names: _,
            data_type: _,
            assignment,
            declare_type: _,
            binary: _,
            sensitive: _,
            scroll: _,
            hold: _,
            for_query,
        } = cursor;
        self.foreign(assignment.is_some(), "a variable");
        if let Some(query) = for_query {
            self.query(query);
        }
    }

    /// COPY of a table: into it the stream is rewritten row by row, out of it only a query may be copied.
    fn copy(&mut self, source: &CopySource, to: bool, target: &CopyTarget) {
        let (table, columns) = match source {
            CopySource::Query(query) => {
                self.query(query);
                return;
            }
            CopySource::Table { table_name, columns } => (table_name, columns),
        };
        let Some((schema, called)) = qualified(table) else {
            self.unread("the name of a table");
            return;
        };
        let item = self.named_item(schema, called, None);
        if !to {
            self.only_for_one("COPY FROM");
        }
        if let Behind::Tenant(table) = item.behind {
            let named = columns.iter().any(|column| is(column, &table.column));
            if to || !named || *target != CopyTarget::Stdin {
                self.uncovered(|| "COPY of a tenant table without its tenant column".to_owned());
            }
        }
    }
}
