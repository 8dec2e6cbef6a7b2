-- Jobs: how long one may yet take, and which replay came of which plan.
ALTER TABLE ops.operations ADD COLUMN left_s double precision;
CREATE INDEX operations_plan ON ops.operations ((target ->> 'plan_id')) WHERE kind = 'replay';
CREATE INDEX plans_age ON ops.plans (created_at);
