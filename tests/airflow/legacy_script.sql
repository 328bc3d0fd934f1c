-- As such scripts were written before Millrace: plain INSERTs, flags as 1/0, empty strings for "none".
INSERT INTO cntl_af.cntl_cfg_strem (strem_nm, question, data_dt, go_live, strem_owner, act_f, upt_dt)
VALUES ('legacy_orders', 'What was ordered?', NULL, 1, 'ola', 1, '2023-05-01 10:00:00');

INSERT INTO cntl_af.cntl_cfg_prcs_grp (prcs_grp, strem_nm, prir, act_f, upt_dt)
VALUES ('legacy_grp_1', 'legacy_orders', 1, 1, '2023-05-01 10:00:00'),
       ('legacy_grp_2', 'legacy_orders', 2, 1, '2023-05-01 10:00:00');

INSERT INTO cntl_af.cntl_cfg_sys_file (sys_nm, file_type, dlm, chunk_size, overlap, upt_dt)
VALUES ('legacy_csv', 'csv', ';', 500, 50, '2023-05-01 10:00:00');

INSERT INTO cntl_af.cntl_cfg_prcs
    (prcs_nm, prcs_grp, prir, sys_file, embed_model, gen_model, collection, nb_path_nm, nb_parm, act_f)
VALUES ('legacy_load', 'legacy_grp_1', 1, 'legacy_csv', '', '', '', 'rows/legacy.ipynb', 'lake|orders/2023|orders.csv', 1),
       ('legacy_report', 'legacy_grp_2', 1, '', '', '', '', 'rows/legacy.ipynb', 'lake|reports|orders', 1);

INSERT INTO cntl_af.cntl_cfg_prcs (prcs_nm, prcs_grp, prir, nb_path_nm, nb_parm, act_f)
VALUES ('legacy_off', 'legacy_grp_2', 9, 'rows/legacy.ipynb', 'a|b|c', 0);

INSERT INTO cntl_af.cntl_cfg_prcs_depn (prcs_nm, dpnd_prcs_nm, act_f, upt_dt)
VALUES ('legacy_report', 'legacy_load', 1, '2023-05-01 10:00:00');

INSERT INTO cntl_af.cntl_cfg_schedule (strem_nm, minutes, hours, day_month, months, day_week, upt_dt)
VALUES ('legacy_orders', '0', '6', '1', '1', '*', '2023-05-01 10:00:00');
