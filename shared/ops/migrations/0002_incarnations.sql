-- Which process a replica's row speaks for: one that was started later under the same name has obeyed nothing yet,
-- whatever the one before had obeyed, and that one cannot speak for it any more.
ALTER TABLE ops.replicas ADD COLUMN incarnation uuid NOT NULL DEFAULT gen_random_uuid();
